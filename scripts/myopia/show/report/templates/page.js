// Tables sort by column and can be filtered, large tables are unpacked when saved. Without a script everything is shown.
"use strict";
(() => {
  const announce = document.getElementById("announce");
  const keyOf = (row, column) => (row.cells[column].dataset.key ?? row.cells[column].textContent).trim();
  const compare = (a, b) => {
    const x = Number(a), y = Number(b);
    return Number.isNaN(x) || Number.isNaN(y) ? a.localeCompare(b, "en", { numeric: true }) : x - y;
  };
  const sort = (table, heading, column) => {
    const down = heading.getAttribute("aria-sort") === "ascending";
    for (const other of table.tHead.rows[0].cells) other.removeAttribute("aria-sort");
    heading.setAttribute("aria-sort", down ? "descending" : "ascending");
    const rows = [...table.tBodies[0].rows].map((row, place) => ({ row, place, key: keyOf(row, column) }));
    rows.sort((a, b) => {
      const missing = (a.key === "") - (b.key === "");  // last, whichever way
      return missing || (down ? -1 : 1) * compare(a.key, b.key) || a.place - b.place;
    });
    table.tBodies[0].append(...rows.map((item) => item.row));
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
  for (const form of document.querySelectorAll("form.filter")) {
    const rows = [...document.getElementById(form.dataset.for).tBodies[0].rows];
    const { text, group, answer } = form.elements;
    const apply = () => {
      const wanted = text.value.trim().toLowerCase();
      let shown = 0;
      for (const row of rows) {
        const given = row.dataset.answer;
        const fits = (!group.value || row.dataset.group === group.value)
          && (!answer.value || given === answer.value || (answer.value === "judged" && given !== "not judged"))
          && row.textContent.toLowerCase().includes(wanted);
        row.hidden = !fits;
        shown += fits;
      }
      form.querySelector("output").textContent = `${shown} of ${rows.length} rows`;
    };
    form.hidden = false;
    form.addEventListener("input", apply);
    form.addEventListener("submit", (event) => event.preventDefault());
    apply();
  }
  // The menu closes once it was used, or left by Escape or by a click elsewhere.
  for (const menu of document.querySelectorAll(".menu")) {
    addEventListener("click", (event) => { if (!menu.contains(event.target) || event.target.closest("a")) menu.open = false; });
    menu.addEventListener("keydown", (event) => {
      if (event.key !== "Escape") return;
      menu.open = false;
      menu.firstElementChild.focus();
    });
  }
  // A link to something inside a closed fold opens it; so does printing.
  const open = () => {
    const target = document.getElementById(decodeURIComponent(location.hash.slice(1)));
    for (let box = target?.closest("details"); box; box = box.parentElement.closest("details")) box.open = true;
    target?.scrollIntoView();
  };
  addEventListener("hashchange", open);
  if (location.hash) open();
  let closed = [];
  addEventListener("beforeprint", () => {
    closed = [...document.querySelectorAll("main details:not([open], .plate)")];
    for (const box of closed) box.open = true;
  });
  addEventListener("afterprint", () => { for (const box of closed) box.open = false; });

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
})();
