"""The report is one file that needs nothing else, and holds what the study holds."""

import json
import re
from html.parser import HTMLParser

import pytest

import evaluations
from canvas import _core
from canvas.errors import UserError
from canvas.funnel import stages
from canvas.report import write_report
from canvas.store import Store
from canvas.study import Study

LAYERS = [_core.Layer(16, 16, (14, 14), count=2), _core.Layer(16, 32, (14, 14), stride=2)]
HOSTILE = '</script><script>alert("{{plotly}}")</script>'


class Page(HTMLParser):
    """What a page refers to, what it shows, and its data."""

    def __init__(self, text):
        super().__init__()
        self.links, self.shown, self.scripts, self.within = [], [], [], ""
        self.feed(text)
        self.data = json.loads(self.scripts[1])

    def handle_starttag(self, tag, attributes):
        self.within = tag
        self.links += [value for name, value in attributes if name in ("src", "href") and not value.startswith("#")]

    def handle_endtag(self, tag):
        self.within = ""

    def handle_data(self, text):
        (self.scripts if self.within == "script" else self.shown).append(text)


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    """A finished study with failures, and a reason that tries to break out of the page."""
    study = Study(tmp_path_factory.mktemp("study") / "study.db", LAYERS, note={"model": "resnet8", "data": "<b>"})
    study.run(evaluations.EveryThird(), candidates=10, workers=2, progress=False)
    with Store(study.path, "drive") as store:
        store.tell(next(trial.index for trial in study.trials if trial.state == "failed"), "failed", HOSTILE)
    return study


def page_of(study, path, **arguments):
    text = write_report(study, path, **arguments).read_text(encoding="utf-8")
    return Page(text), text


def test_holds_every_candidate_and_each_kernel_of_the_front(study, tmp_path):
    page, text = page_of(study, tmp_path / "report.html")
    assert [row["text"] for row in page.data["rows"]] == [trial.text for trial in study.trials]
    assert any(row["reason"] == HOSTILE for row in page.data["rows"])
    front = study.front()
    assert [row["index"] for row in page.data["rows"] if row["front"]] == sorted(trial.index for trial in front)
    for trial in front:
        assert trial.text in page.shown
    assert text.count('<div class="picture"><svg') == len(front)
    words = " ".join(page.shown)
    for name, count in study.counts.items():
        if count:
            assert f"{count:,}" in words, name
    assert not re.search(r"\{\{\w+\}\}", words)


def test_tells_what_each_stage_passed_and_how_well_it_ranked(study, tmp_path):
    _, page = page_of(study, tmp_path / "report.html")
    for stage in stages(study):
        assert re.search(rf'<td class="text">{stage.name}</td><td>{stage.entered:,}</td><td>{stage.left:,}</td>', page)
    [training] = [stage for stage in stages(study) if stage.name == "training"]
    assert training.left == len([trial for trial in study.trials if trial.state == "complete"]) > 0


def test_is_one_file_and_lets_nothing_out_of_its_quotes(study, tmp_path):
    page, text = page_of(study, tmp_path / "report.html")
    assert page.links == []
    assert len(page.scripts) == 3
    assert "alert" not in page.scripts[0][-1000:] and "<b>" not in text.split("<header>")[1].split("</header>")[0]


def test_marks_the_references(study, tmp_path):
    references = {"original": {"accuracy": 0.9, "latency_ratio": 1.0}, "half": {"accuracy": 0.5}}
    page, _ = page_of(study, tmp_path / "report.html", references=references)
    assert page.data["references"] == [{"name": "original", "x": 1.0, "y": 0.9}]
    assert page.data["x"] == "latency, fraction of the original's" and page.data["y"] == "accuracy"


def test_compared_kernels_become_references(study, tmp_path):
    kernel = study.trials[0].kernel
    found = study.compare(evaluations.quick_or_original, {"original": None, "mine": kernel}, workers=1)
    assert set(found) == {"original", "mine"} and found["original"]["latency_ratio"] == 1.0
    page, _ = page_of(Study.open(study.path), tmp_path / "report.html")
    assert {mark["name"] for mark in page.data["references"]} == {"original", "mine"}


def test_a_study_without_candidates_has_a_report(tmp_path):
    page, _ = page_of(Study(tmp_path / "study.db", LAYERS), tmp_path / "report.html")
    assert page.data["rows"] == [] and "None yet." in page.shown


def test_without_graphviz_a_note_stands_for_the_picture(study, tmp_path, monkeypatch):
    def draw(self, path=None):
        raise UserError("install the package graphviz")

    import canvas.kernel  # noqa: F401

    monkeypatch.setattr(_core.Kernel, "draw", draw)
    page, text = page_of(study, tmp_path / "report.html")
    assert 'class="picture"' not in text and "No picture: install the package graphviz" in page.shown


def test_where_it_cannot_be_written(study, tmp_path):
    with pytest.raises(UserError, match=r"cannot be written: .*; choose another path"):
        write_report(study, tmp_path / "none" / "report.html")
