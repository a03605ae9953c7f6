// Tables sort by column, charts answer to a pointer, the planning map to pointer and arrow keys. Without a script the
// page still says everything.
"use strict";
(() => {
  const announce = document.getElementById("announce");
  const keyOf = (row, column) => {
    const cell = row.cells[column];
    return cell.dataset.key ?? cell.textContent.trim();
  };
  const compare = (a, b) => {
    if (a === "" || b === "") return (a === "") - (b === "");
    const x = Number(a), y = Number(b);
    if (!Number.isNaN(x) && !Number.isNaN(y)) return x - y;
    return a.localeCompare(b, "en", { numeric: true });
  };
  const sort = (table, heading, column) => {
    const down = heading.getAttribute("aria-sort") === "ascending";
    for (const other of table.tHead.rows[0].cells) other.removeAttribute("aria-sort");
    heading.setAttribute("aria-sort", down ? "descending" : "ascending");
    const body = table.tBodies[0];
    const rows = [...body.rows].map((row, place) => ({ row, place, key: keyOf(row, column) }));
    rows.sort((a, b) => {
      const missing = (a.key === "") - (b.key === "");  // last, whichever way
      return missing || (down ? -1 : 1) * compare(a.key, b.key) || a.place - b.place;
    });
    body.append(...rows.map((item) => item.row));
    announce.textContent = `${table.caption.textContent}: sorted by ${heading.textContent}, ${down ? "descending" : "ascending"}`;
  };
  for (const table of document.querySelectorAll("table.sortable")) {
    [...table.tHead.rows[0].cells].forEach((heading, column) => {
      const button = document.createElement("button");
      button.type = "button";
      button.append(...heading.childNodes);
      button.title = "Sort by this column";
      heading.append(button);
      button.addEventListener("click", () => sort(table, heading, column));
    });
  }
  // A link to something inside a closed <details> opens it; so does printing.
  const open = () => {
    const target = document.getElementById(decodeURIComponent(location.hash.slice(1)));
    for (let box = target?.closest("details"); box; box = box.parentElement.closest("details")) box.open = true;
    target?.scrollIntoView();
  };
  addEventListener("hashchange", open);
  if (location.hash) open();
  let closed = [];
  addEventListener("beforeprint", () => {
    closed = [...document.querySelectorAll("details:not([open])")];
    for (const box of closed) box.open = true;
  });
  addEventListener("afterprint", () => { for (const box of closed) box.open = false; });

  // Vega writes expressions; the interpreter evaluates them without eval, which the page's policy forbids.
  for (const box of document.querySelectorAll(".chart")) {
    const spec = JSON.parse(document.getElementById(box.dataset.spec).textContent);
    vegaEmbed(box, spec, { actions: false, renderer: "svg", ast: true })
      .then(() => { box.dataset.ready = "yes"; })
      .catch((error) => { box.textContent = "This chart could not be drawn; the figure above holds the same numbers."; console.error(error); });
  }

  // Large tables lie in the page packed. Without this they are saved as .csv.gz.
  for (const link of document.querySelectorAll("a.csv[download$='.gz']")) {
    if (!("DecompressionStream" in window)) break;
    link.addEventListener("click", async (event) => {
      if (link.href.startsWith("blob:")) return;
      event.preventDefault();
      const bytes = Uint8Array.from(atob(link.href.split(",")[1]), (c) => c.charCodeAt(0));
      const plain = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip"));
      link.href = URL.createObjectURL(new Blob([await new Response(plain).arrayBuffer()], { type: "text/csv" }));
      link.download = link.download.replace(/\.gz$/, "");
      link.click();
    });
  }

  for (const token of document.querySelectorAll(".window .tok")) {
    token.setAttribute("aria-label", `${token.textContent.trim() || "space"}: ${token.dataset.told}`);
  }
  const readout = document.getElementById("readout");
  for (const text of document.querySelectorAll(".window .text")) {
    const tokens = [...text.children];
    const show = (token) => {
      const at = tokens.indexOf(token);
      const before = tokens.slice(Math.max(0, at - 8), at).map((t) => t.textContent).join("");
      const parts = [["span", "context", before], ["b", "", token.textContent], ["span", "told", ` ${token.dataset.told}`]];
      readout.replaceChildren(...parts.map(([tag, name, content]) => {
        const part = document.createElement(tag);
        part.className = name;
        part.textContent = content;
        return part;
      }));
    };
    text.addEventListener("pointerover", (event) => { if (event.target.dataset.told) show(event.target); });
    text.addEventListener("click", (event) => { if (event.target.dataset.told) show(event.target); });
    text.addEventListener("focusin", (event) => show(event.target));
    text.addEventListener("keydown", (event) => {
      const move = { ArrowRight: 1, ArrowLeft: -1, Home: -Infinity, End: Infinity }[event.key];
      if (move === undefined) return;
      event.preventDefault();
      const to = Math.min(tokens.length - 1, Math.max(0, tokens.indexOf(event.target) + move));
      for (const token of tokens) token.tabIndex = -1;
      tokens[to].tabIndex = 0;
      tokens[to].focus();
    });
  }
})();
