"""The report at the end of a run, and what a failed run leaves instead."""

from harness import run


def test_the_run_ends_in_its_report(smoke):
    page = (smoke.folder / "results/smoke/report.html").read_text()
    assert "report: results/smoke/report.html" in smoke.output
    assert "This run is not complete" not in page and page.count("data:image/") >= 10
    tiles = page.partition('class="tiles"')[2].partition("</ul>")[0]
    assert tiles.count('class="word">not judged<') == tiles.count("<li") >= 5  # smoke judges nothing


def test_a_failed_job_leaves_an_honest_page_and_the_mended_run_removes_it(sandbox):
    results = sandbox / "results/smoke"
    metrics = results / "runs/dp-p1-myopic/seed0/metrics.json"  # which the table of runs alone reads
    whole, before = metrics.read_text(), (results / "report.html").read_text()
    metrics.write_text(whole[: len(whole) // 2])
    words = ("-m", "myopia", "run", "--config", "scale=smoke", "--", "report")  # what make calls
    failed = run(sandbox, "python", *words, rc=1).output.splitlines()
    page = (results / "report-incomplete.html").read_text()
    assert not (results / "report.html").exists()  # the next call must not take it for up to date
    assert len(failed) <= 10 and failed[-1].startswith("Snakemake's own log: .snakemake/run.log")
    (at,) = [k for k, line in enumerate(failed) if line.startswith("tabulate_seeds failed: ")]
    assert "dp-p1-myopic/seed0/metrics.json cannot be read" in failed[at]
    assert failed[at + 1].strip() == "its log: results/smoke/logs/tabulate_seeds.log"
    assert "This run is not complete" in page and "<code>tabulate_seeds</code>" in page
    assert "dp-p1-myopic/seed0/metrics.json cannot be read" in page  # the log's own sentence
    assert "dp-p1-myopic/seed0/metrics.json is not JSON; delete its folder and run again." in page  # the table of runs
    metrics.write_text(whole)
    done = run(sandbox, "python", *words).output
    assert "report: results/smoke/report.html" in done and len(done.splitlines()) <= 24
    assert run(sandbox, "python", *words).output == "nothing to be done\n"
    assert not (results / "report-incomplete.html").exists()
    mended = (results / "report.html").read_text()
    assert mended.partition('id="provenance"')[0] == before.partition('id="provenance"')[0]
