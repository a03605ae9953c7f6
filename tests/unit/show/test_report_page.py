"""The page: self-contained, well-formed, honest about what is missing, and nothing in it but what the files say."""

from __future__ import annotations

import base64
import gzip
import itertools
import os
import re
import shutil
import time
from pathlib import Path
from urllib.parse import unquote

import pandas as pd
import pytest

from myopia.cli import results as commands
from myopia.common.errors import MyopiaError
from myopia.config.dag import Dag
from myopia.config.experiment import Figure
from myopia.config.load import load_config
from myopia.judge.claims import GROUPS
from myopia.judge.questions import estimate, number
from myopia.show.report import embed, page
from myopia.show.report.results import Missing, Results, fill
from parsed_page import Page
from results_folder import DRAWN, REFERENCE, TEXTS, add_run, dag_of, results_folder


def render(folder: Path, **drawn) -> str:
    return page.render(Results(folder), dag_of(folder, **drawn), REFERENCE, TEXTS)


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return results_folder(tmp_path_factory.mktemp("results") / "laptop")


@pytest.fixture(scope="module")
def html(finished: Path) -> str:
    return render(finished)


@pytest.fixture(scope="module")
def parsed(html: str) -> Page:
    return Page(html)


@pytest.fixture
def folder(finished: Path, tmp_path: Path) -> Path:
    """A copy to do harm to."""
    return Path(shutil.copytree(finished, tmp_path / "laptop"))


def squeezed(text: str) -> str:
    return " ".join(text.split())


# --- form ---


def test_it_needs_nothing_but_itself(parsed):
    for tag, attributes in parsed.elements:
        for name in ("src", "href", "action", "data", "poster", "srcset"):
            address = attributes.get(name, "#")
            assert address.startswith(("#", "data:")), (tag, address[:80])
    policy = next(m["content"] for m in parsed.all("meta") if "http-equiv" in m)
    assert policy.startswith("default-src 'none';") and "connect-src" not in policy


def test_every_link_inside_leads_somewhere_and_ids_are_unique(finished):
    """Also where the answer speaks of experiments that do not run."""
    for experiments in (None, ["induction"]):
        settings = load_config({"scale": "laptop", "results": str(finished), "experiments": experiments})
        parsed = Page(page.render(Results(finished), Dag(settings), REFERENCE, TEXTS))
        ids = [a["id"] for _, a in parsed.elements if "id" in a]
        assert len(ids) == len(set(ids)), experiments
        wanted = {a["href"][1:] for a in parsed.all("a") if a["href"].startswith("#")}
        assert wanted <= set(ids) and len(wanted) >= 8, experiments
        told = {a[name] for _, a in parsed.elements for name in ("aria-labelledby", "aria-describedby") if name in a}
        assert told <= set(ids), experiments


def test_it_reads_well_aloud(parsed):
    tags = [tag for tag, _ in parsed.elements]
    assert [tags.count(tag) for tag in ("h1", "main", "header", "footer", "nav")] == [1, 1, 1, 1, 1]
    assert tags.count("table") == tags.count("caption")
    levels = [int(tag[1]) for tag in tags if re.fullmatch("h[1-6]", tag)]
    assert all(after - before <= 1 for before, after in itertools.pairwise(levels))
    assert len(parsed.all("img")) == 2 and all(len(image["alt"]) > 20 for image in parsed.all("img"))
    assert all(a.get("scope") in ("col", "row") for a in parsed.all("th"))
    assert parsed.elements[0] == ("html", {"lang": "en"}) and parsed.all("a")[0]["class"] == "skip"


def test_equal_folders_give_equal_pages(finished, html, tmp_path):
    assert render(Path(shutil.copytree(finished, tmp_path / "laptop"))) == html
    assert "secret-host" not in html and str(finished) not in html


# --- content ---


def test_every_row_stands_as_it_was_judged(finished, parsed):
    frame = pd.read_csv(finished / "tables/verdicts.csv")
    rows = [attributes for attributes in parsed.all("tr") if "data-group" in attributes]
    told = [(row["data-group"], row["data-answer"]) for row in rows]
    assert sorted(told) == sorted(zip(frame["group"], frame["answer"], strict=True))
    assert [*dict.fromkeys(group for group, _ in told)] == [*GROUPS]  # the paper's claims first
    text = squeezed(parsed.text)
    for row in frame.itertuples():
        assert squeezed(row.claim) in text and (pd.isna(row.ours) or estimate(row) in text), row.id


def test_the_page_begins_with_answers_then_a_picture_then_claims_then_limits(parsed, html):
    """Tiles with a yes or no first; folds and counts of hundreds of rows last."""
    order = [
        html.index(f'{name}"')
        for name in (
            'class="tiles',
            'class="lead',
            'id="claims',
            'id="limits',
            'id="synthetic',
            'id="appendix',
            'id="counts',
        )
    ]
    assert order == sorted(order) and parsed.all("figure")[0]["id"] == "figure-table1_loss_by_p"  # fig4 was not drawn
    assert 4 <= html.partition('id="headline"')[2].partition("</table>")[0].count("<tr") - 1 <= 10
    assert not re.search(r"\b0 of \d", parsed.text)


def test_a_figure_that_asks_for_the_top_of_the_page_gets_it_and_stands_nowhere_else(folder):
    for ending in ("svg", "png"):
        shutil.copyfile(folder / f"figures/table1_loss_by_p.{ending}", folder / f"figures/fig4_position.{ending}")
    shutil.copyfile(folder / "tables/table1_loss_by_p.csv", folder / "tables/fig4_position.csv")
    shown = [figure["id"] for figure in Page(render(folder, drawn=[*DRAWN, "fig4_position"])).all("figure")]
    assert shown[0] == "figure-fig4_position" and len(shown) == len(set(shown)) == 3


def test_an_experiment_of_which_nothing_was_run_has_a_name_and_no_section(finished, parsed):
    ids = {attributes.get("id") for attributes in parsed.all("section")}
    assert "synthetic" in ids and "zero_shot" not in ids
    assert re.search("Nothing was run or judged here: [^.]*Zero-shot tasks", squeezed(parsed.text))


def test_kinds_of_rows_are_counted_apart(finished, html):
    frame = pd.read_csv(finished / "tables/verdicts.csv")
    body = html.partition("Answers by kind of row")[2].partition("<tbody>")[2].partition("</tbody>")[0]
    told = [[int(n or 0) for n in re.findall(r'<td class="n">(\d*)</td>', row)] for row in body.split("</tr>")[:-1]]
    assert [sum(row) for row in told] == [
        int((frame["group"] == name).sum()) for name in GROUPS if (frame["group"] == name).any()
    ]


def test_the_paper_scale_alone_says_nothing_of_small_networks(finished, monkeypatch):
    assert "a direction, never a size" in render(finished)
    dag = dag_of(finished)
    dag.settings["scale"] = "paper"
    assert "a direction, never a size" not in page.render(Results(finished), dag, REFERENCE, TEXTS)


def test_a_changed_estimate_changes_the_page(folder, html):
    path = folder / "tables/verdicts.csv"
    frame = pd.read_csv(path)
    frame.loc[frame["id"] == "table1-gap-p1", "ours"] = 0.13579
    frame.to_csv(path, index=False)
    assert "0.136" not in html and render(folder).count("0.136") >= 3  # tile, headline, rows


def test_the_csv_one_click_away_is_the_file(finished, parsed):
    links = {a["download"]: a["href"] for a in parsed.all("a") if "download" in a}
    assert {name.removesuffix(".gz") for name in links} == {path.name for path in (finished / "tables").glob("*.csv")}
    for name, address in links.items():
        table = finished / "tables" / name.removesuffix(".gz")
        assert name.endswith(".gz") == (table.stat().st_size >= embed.PACKED), name
        kind, _, data = address.partition(",")
        assert kind == ("data:application/gzip;base64" if name.endswith(".gz") else "data:text/csv;charset=utf-8")
        text = gzip.decompress(base64.b64decode(data)).decode() if name.endswith(".gz") else unquote(data)
        assert text == table.read_text()
    assert "verdicts.csv.gz" in links and "seeds.csv" in links


def test_pictures_are_the_figures(parsed):
    import xml.etree.ElementTree as tree

    for image in parsed.all("img"):
        root = tree.fromstring(unquote(image["src"].partition(",")[2]))
        assert root.tag.endswith("svg") and len(list(root.iter())) > 200


def test_text_of_files_cannot_become_markup(folder):
    path = folder / "tables/verdicts.csv"
    frame = pd.read_csv(path)
    frame.loc[0, "claim"] = '<script>alert(1)</script> & "quoted"'
    frame.to_csv(path, index=False)
    (folder / "logs" / "evil.log").write_text("</pre><img src=x onerror=alert(2)>")
    found = Page(render(folder))
    assert len(found.all("script")) == 1 and all(image["src"].startswith("data:") for image in found.all("img"))
    assert '<script>alert(1)</script> & "quoted"' in found.text and "<img src=x" in found.text


def test_figures_the_section_says_nothing_of_are_shown_all_the_same(folder):
    for ending in ("svg", "png"):
        shutil.copyfile(folder / f"figures/table1_loss_by_p.{ending}", folder / f"figures/brand_new.{ending}")
    shutil.copyfile(folder / "tables/table1_loss_by_p.csv", folder / "tables/brand_new.csv")
    found = Page(render(folder, further=[Figure.of("brand_new", "a", "t:t", "s:s")]))
    assert "figure-brand_new" in {a.get("id") for a in found.all("figure")} and len(found.all("img")) == 3


def test_runs_tell_of_every_attempt(parsed):
    text = squeezed(parsed.text)
    assert "3 in all: 3 finished; 1 took more than one attempt" in text
    assert "died 1 time and was resumed" in text
    assert "3 runs, 1 min 20 s of training (one after another), 4.6 million tokens, 2.9e+12 FLOPs" in text
    assert "2 other jobs, 25.0 s" in text  # training jobs are counted as training


# --- honesty ---


def test_a_failed_job_is_shown_with_its_log(folder):
    (folder / "logs/measure/text.log").write_text("reading\nerror: docs.jsonl is damaged; harvest again.\n")
    text = squeezed(Page(render(folder)).text)
    assert "This run is not complete" in text and "1 job began and did not end well: measure/text" in text
    assert "error: docs.jsonl is damaged; harvest again." in text


def test_a_job_that_failed_when_it_ran_again_is_shown(folder):
    """Its benchmark is of the earlier success."""
    log = folder / "logs/judge/synthetic.log"
    log.write_text("error: synthetic_loss.csv lacks a column; measure it again.\n")
    os.utime(log, (time.time() + 5, time.time() + 5))
    assert [job.name for job in Results(folder).unfinished_jobs] == ["judge/synthetic"]
    log.write_text("judged 175 claims\n")  # a copy may mix up the times
    os.utime(log, (time.time() + 5, time.time() + 5))
    assert not Results(folder).unfinished_jobs


def test_training_that_was_given_up_before_the_verdicts_is_not_missed(folder):
    """A size that is no longer asked for leaves a log and no benchmark."""
    log = folder / "logs/train/tune_family_d99.log"
    log.parent.mkdir(parents=True, exist_ok=True)
    log.write_text("stopped by signal 15\n")
    judged = (folder / "tables/verdicts.csv").stat().st_mtime
    os.utime(log, (judged - 5, judged - 5))
    assert not Results(folder).unfinished_jobs
    os.utime(log, (judged + 5, judged + 5))
    assert [job.name for job in Results(folder).unfinished_jobs] == ["train/tune_family_d99"]
    os.utime(log, (judged - 5, judged - 5))
    (folder / "tables/verdicts.csv").unlink()
    assert [job.name for job in Results(folder).unfinished_jobs] == ["train/tune_family_d99"]


def test_a_picture_whose_table_is_gone_is_not_shown(folder):
    (folder / "tables/audit_gap_by_lr.csv").unlink()
    found = Page(render(folder))
    assert len(found.all("img")) == 1 and "1 figure not drawn: Gap against learning rate" in squeezed(found.text)


def test_the_writing_job_is_no_failed_job(folder):
    (folder / "logs/write_report.log").write_text("")
    assert "This run is not complete" not in render(folder)


def test_dead_stopped_and_abandoned_runs_are_named(folder):
    add_run(folder, "text-docstrings-vanilla", 0, ["start"], finished=False)
    add_run(folder, "text-docstrings-vanilla", 1, ["start", "preempted"], finished=False)
    add_run(folder, "dp-p1-vanilla", 0, ["start", "end"], finished=False, fingerprint="older")
    runs = Results(folder).runs.set_index(["run", "seed", "status"])
    assert ("text-docstrings-vanilla", 0, "crashed") in runs.index
    assert ("text-docstrings-vanilla", 1, "stopped") in runs.index
    assert "nothing here comes from it" in runs.loc[("dp-p1-vanilla", 0, "other settings"), "note"]
    text = squeezed(Page(render(folder)).text)
    assert "2 training runs stopped or died before the end" in text and "400 of 1,000" in text
    assert "6 in all: 3 finished, 2 stopped or dead, 1 left behind under other settings" in text


def test_a_damaged_record_is_told_once_the_workflow_has_stopped_and_refused_before(folder):
    (folder / "runs/dp-p1-vanilla/seed0/metrics.json").write_text('{"run": "dp-')
    sentence = "dp-p1-vanilla/seed0/metrics.json is not JSON; delete its folder and run again."
    with pytest.raises(MyopiaError, match=re.escape(sentence)):
        render(folder)
    results = Results(folder, stopped=True)
    run = results.runs.set_index(["run", "seed"]).loc[("dp-p1-vanilla", 0)]
    assert run["status"] == "damaged" and sentence in run["note"]
    text = squeezed(Page(page.render(results, dag_of(folder), REFERENCE, TEXTS)).text)
    assert sentence in text and "1 training run with a record that cannot be read" in text
    assert "1 with a damaged record" in text and "stopped or d" not in text


def test_half_a_run_is_reported_as_half_a_run(folder):
    (folder / "figures/audit_gap_by_lr.svg").unlink()
    (folder / "tables/audit_gap_by_lr.csv").unlink()
    (folder / "tables/verdicts.csv").unlink()
    found = Page(render(folder))
    text = squeezed(found.text)
    assert "Nothing has been judged" in text and "1 figure not drawn: Gap against learning rate" in text
    assert (
        len(found.all("img")) == 1
        and "No question has been judged yet" in text
        and not re.search(r"\b(yes|no) means|%\]", text)
    )


def test_an_empty_folder_gives_a_page_and_no_folder_a_sentence(tmp_path):
    text = Page(render(tmp_path)).text
    assert "Nothing has been judged" in text and "2 figures not drawn" in text
    with pytest.raises(MyopiaError, match="run the workflow first"):
        render(tmp_path / "nowhere")


def test_an_empty_table_is_not_drawn_as_a_figure(folder):
    path = folder / "tables/audit_gap_by_lr.csv"
    path.write_text(path.read_text().splitlines()[0] + "\n")
    found = Page(render(folder))
    assert "Gap against learning rate" not in {title for title in found.text.split("\n")} and len(found.all("img")) == 1
    assert "This run is not complete" not in found.text


# --- results of another target ---


def test_released_checkpoints_that_were_not_opened_are_said_to_be_so(finished, parsed):
    assert not (finished / "released").exists()
    text = squeezed(parsed.text)
    assert "The authors' released checkpoints (snakemake released makes it)" in text
    assert "Released checkpoints against size" not in text and "This run is not complete" not in text


def test_released_checkpoints_are_shown_once_they_are_there(folder):
    for kind in ("tables", "figures"):
        (folder / "released" / kind).mkdir(parents=True)
    columns = "size,arm,parameters,lr_in_name,lr_in_hyper_parameters,lr_in_schedule,lr_in_optimizer,lr_as_named"
    rows = ["14m,vanilla,14067712,0.001,0.001,0.001,absent,yes", "14m,myopic,14067712,0.001,6e-05,6e-05,absent,no",
            "31m,vanilla,30494720,0.001,absent,absent,absent,unknown"]  # fmt: skip
    (folder / "released/tables/released_audit.csv").write_text("\n".join([columns, *rows]) + "\n")
    shutil.copyfile(folder / "tables/table1_loss_by_p.csv", folder / "released/tables/fig7_released.csv")
    for ending in ("svg", "png"):
        shutil.copyfile(
            folder / f"figures/table1_loss_by_p.{ending}", folder / f"released/figures/fig7_released.{ending}"
        )
    found = Page(render(folder))
    text = squeezed(found.text)
    assert "snakemake released" not in text and "figure-fig7_released" in {a.get("id") for a in found.all("figure")}
    assert len(found.all("img")) == 3 and "This run is not complete" not in text  # two figures of it are not there
    assert {"released_audit.csv", "fig7_released.csv"} <= {a.get("download") for a in found.all("a")}


# --- size ---


def test_what_does_not_fit_is_linked_and_named(folder, monkeypatch):
    monkeypatch.setattr(embed, "LIMIT", page.RESERVE + 10_000)
    found = Page(render(folder))
    linked = [a["href"] for a in found.all("a") if a["href"].startswith("tables/")]
    assert linked and all((folder / address).is_file() for address in linked)
    assert "Too large for this page" in found.text
    assert all(image["src"].startswith(("data:image/png", "data:image/svg", "figures/")) for image in found.all("img"))


def test_a_page_over_the_limit_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(embed, "LIMIT", 10)
    with pytest.raises(MyopiaError, match="too long for one page"):
        page.write(tmp_path / "report.html", "x" * 11)
    assert not (tmp_path / "report.html").exists()


def test_a_large_picture_falls_back_to_its_smaller_form(finished):
    svg = finished / "figures/table1_loss_by_p.svg"
    png = svg.with_suffix(".png").stat().st_size
    assert embed.picture(svg, embed.Budget(10**7)).startswith("data:image/svg+xml")
    budget = embed.Budget(png * 4 // 3 + 100)
    if len(embed.picture(svg, embed.Budget(10**7))) > budget.left:
        assert embed.picture(svg, budget).startswith("data:image/png") and not budget.refused
    assert embed.picture(svg, embed.Budget(10)) == "figures/table1_loss_by_p.svg"


# --- numbers in prose ---


def test_numbers_in_prose_come_from_the_files(finished):
    results, paper = Results(finished), pd.read_csv(REFERENCE / "paper_values.csv")
    assert fill("{gap:table2-myopic:table2-vanilla} and {paper:table1-zero}", results, paper) == "0.12 and 1.26"
    ours = number(results.claim("table1-gap-p1").ours)
    assert fill("{ours:table1-gap-p1}", results, paper) == ours
    with pytest.raises(Missing):
        fill("{ours:no-such-claim}", results, paper)
    with pytest.raises(MyopiaError, match="no-such-row"):
        fill("{paper:no-such-row}", results, paper)


def test_the_command_writes_the_page(finished, html, tmp_path, monkeypatch):
    monkeypatch.setattr(commands, "start", lambda: None)
    monkeypatch.setattr(commands, "open_dag", lambda settings: dag_of(finished))
    commands.report(finished / "settings.json", tmp_path / "report.html", REFERENCE, TEXTS, stopped=False)
    assert (tmp_path / "report.html").read_text() == html and len(html.encode()) < embed.LIMIT
