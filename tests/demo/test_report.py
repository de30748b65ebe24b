"""The report is a pure function of a run's summary and time line; `run.json` holds those of a run of three
rounds."""

import copy
import json
import re
from html.parser import HTMLParser
from pathlib import Path

import pytest
from pi_sdk import charts, report


@pytest.fixture
def run() -> dict:
    return json.loads((Path(__file__).parent / "run.json").read_text())


class Tags(HTMLParser):
    """Collects tags and attributes; fails on a tag that is closed in the wrong order."""

    VOID = {"meta", "br", "line", "path"}

    def __init__(self, page: str):
        super().__init__()
        self.open: list[str] = []
        self.seen: list[tuple[str, dict]] = []
        self.text: list[str] = []
        self.feed(page)
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        self.seen.append((tag, dict(attrs)))
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.seen.append((tag, dict(attrs)))

    def handle_endtag(self, tag):
        if tag not in self.VOID:
            assert self.open.pop() == tag

    def handle_data(self, data):
        self.text.append(data)


def test_the_page_stands_alone_and_says_what_happened(run: dict) -> None:
    page = report.render(**run)
    tags = Tags(page)
    names = {tag for tag, _ in tags.seen}
    assert "svg" in names and not names & {"script", "link", "img", "iframe", "object"}
    assert not any({"src", "href"} & attrs.keys() for _, attrs in tags.seen)
    assert "url(" not in page and "@import" not in page
    assert "prefers-color-scheme: dark" in page and "width=device-width" in page

    text = " ".join("".join(tags.text).split())
    for fact in (
        "3 workers, 3 rounds, one model",
        "worker-3 (wrong-shard)",
        "143× below dense",
        "Every token is accounted",
    ):
        assert fact in text
    for r in run["summary"]["rounds"]:
        assert r["checkpoint_hash"][:16] in text
    assert report.render(**run) == page


def test_text_of_a_run_is_escaped(run: dict) -> None:
    evil = "<script>alert('x')</script>"
    run["timeline"]["sample"] = run["timeline"]["name"] = evil
    run["timeline"]["faults"][0]["detail"] = evil
    run["timeline"]["agents"][0]["name"] = evil
    run["summary"]["workers"][0]["cheat"] = evil
    page = report.render(**run)
    assert "<script" not in page and page.count("&lt;script&gt;") >= 5
    Tags(page)


def test_a_run_in_which_nothing_went_as_hoped_has_a_page_too(run: dict) -> None:
    bare = copy.deepcopy(run)
    bare["summary"]["loss"].update(first=None, last=None)
    for r in bare["summary"]["rounds"]:
        r.update(val_loss=None, included=[], update_bytes={})
    bare["timeline"].update(
        genesis_loss=None, faults=[], misses=[{"round": 0, "agent": "worker-1", "penalty": 10**18}]
    )
    for agent in bare["timeline"]["agents"]:
        agent.update(spans=[], stake=[], earned=[])
    bare["summary"]["money"]["conserved"] = False
    text = "".join(Tags(report.render(**bare)).text)
    assert "The books do not add up" in text and "missed round 1, penalty 1.00" in text


def test_charts_put_points_where_their_values_are() -> None:
    chart = charts.line_chart(
        [("loss", "red", [(0, 10.0), (4, 0.0)])],
        x=(0, 4),
        y=(0, 10),
        x_ticks=[(2, "two")],
        mark=(5, "half"),
        label="l",
    )
    assert 'd="M0.0 0.0L100.0 100.0"' in chart
    assert '<i class="x" style="left:50.0%">two</i>' in chart
    assert re.search(r'class="mark"[^>]*y1="50.0"', chart)
    assert charts.ticks(0, 10) == [0, 2, 4, 6, 8, 10]
    assert charts.ticks(2.4, 5.3) == [3, 4, 5]
    assert [charts.size(n) for n in (0, 512, 2048, 3 << 30)] == ["0 B", "512 B", "2.0 KiB", "3.00 GiB"]
