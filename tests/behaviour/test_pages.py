"""The pages in a real browser: Chromium without a window, as Debian has it."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from shutil import which
from typing import Any

import pytest
import torch
from torch import nn

import net2net
from net2net.page.pages import growth_page, spaces_page

webdriver = pytest.importorskip("selenium.webdriver", reason="Selenium is not installed")

BROWSER, DRIVER = which("chromium"), which("chromedriver")
pytestmark = pytest.mark.skipif(
    not (BROWSER and DRIVER), reason="no Chromium here: apt-get install chromium chromium-driver"
)


class Residual(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(8)
        self.inside = nn.Sequential(nn.Linear(8, 12), nn.GELU(), nn.Linear(12, 8))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        result: torch.Tensor = x + self.inside(self.norm(x))
        return result


@pytest.fixture(scope="module")
def pages(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    model = nn.Sequential(nn.Linear(3, 8), Residual(), Residual(), nn.Linear(8, 2))
    x = torch.randn(2, 3)
    spaces, grown = net2net.spaces(model, x), net2net.widen(model, 1.5, x)
    folder = tmp_path_factory.mktemp("pages")
    found = {
        "spaces": spaces_page(model, spaces),
        "growth": growth_page(model, spaces, grown.report, "method: replicate\n"),
    }
    for name, text in found.items():
        (folder / f"{name}.html").write_text(text, encoding="utf-8")
    return {name: folder / f"{name}.html" for name in found}


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    options = webdriver.ChromeOptions()
    options.binary_location = BROWSER
    for word in ("headless=new", "no-sandbox", "disable-dev-shm-usage", "disable-gpu"):
        options.add_argument(f"--{word}")
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    driver = webdriver.Chrome(options, webdriver.ChromeService(DRIVER))
    yield driver
    driver.quit()


def opened(browser: Any, path: Path, *, scheme: str = "light", width: int = 1000) -> None:
    features = [{"name": "prefers-color-scheme", "value": scheme}]
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": features})
    size = {"width": width, "height": 800, "deviceScaleFactor": 1, "mobile": width < 500}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
    browser.get(path.as_uri())


@pytest.mark.parametrize("name", ["spaces", "growth"])
def test_a_page_loads_nothing_and_complains_of_nothing(
    browser: Any, pages: dict[str, Path], name: str
) -> None:
    opened(browser, pages[name])
    assert browser.get_log("browser") == []
    assert browser.execute_script("return performance.getEntriesByType('resource').length") == 0
    assert browser.execute_script("return document.compatMode") == "CSS1Compat"


def test_hovering_tells_of_a_module(browser: Any, pages: dict[str, Path]) -> None:
    opened(browser, pages["spaces"])
    boxes = browser.find_elements("css selector", ".module.space")
    webdriver.ActionChains(browser).move_to_element(boxes[0]).perform()
    shown = [one for one in browser.find_elements("class name", "tip") if one.is_displayed()]
    assert [one.get_attribute("id") for one in shown] == [
        boxes[0].get_attribute("aria-describedby")
    ]
    assert "space 1, '0': 8" in shown[0].text
    assert "tied by" in shown[0].text


def test_the_keyboard_alone_reaches_all(browser: Any, pages: dict[str, Path]) -> None:
    opened(browser, pages["spaces"])
    keys = webdriver.Keys
    seen, tips = [], []
    for _ in range(40):
        browser.switch_to.active_element.send_keys(keys.TAB)
        at = browser.switch_to.active_element
        if at.tag_name == "body":
            break
        seen.append(at.get_attribute("aria-describedby") or at.tag_name)
        tips.append([x.get_attribute("id") for x in browser.find_elements("class name", "tip")
                     if x.is_displayed()])  # fmt: skip
        outline = at.value_of_css_property("outline-style")
        assert outline == "solid"
    boxes = browser.find_elements("css selector", ".module.space")
    visible = [one.get_attribute("aria-describedby") for one in boxes if one.is_displayed()]
    assert visible and set(visible) <= set(seen)
    assert all(tips[seen.index(one)] == [one] for one in visible)
    folded = browser.find_elements("css selector", "details:not([open]) > summary")
    folded[0].send_keys(keys.ENTER)
    now = [one for one in boxes if one.is_displayed()]
    assert len(now) > len(visible)


@pytest.mark.parametrize("name", ["spaces", "growth"])
def test_a_screen_reader_is_told_what_can_have_the_focus(
    browser: Any, pages: dict[str, Path], name: str
) -> None:
    opened(browser, pages[name])
    nodes = browser.execute_cdp_cmd("Accessibility.getFullAXTree", {})["nodes"]
    focusable = [
        node
        for node in nodes
        if not node["ignored"]
        and any(one["name"] == "focusable" and one["value"]["value"] for one in node["properties"])
    ]
    assert focusable
    assert [n for n in focusable if not n.get("name", {}).get("value")] == []
    levels = [
        int(one["value"]["value"])
        for node in nodes
        if node.get("role", {}).get("value") == "heading"
        for one in node["properties"]
        if one["name"] == "level"
    ]
    assert levels[0] == 1
    assert all(b <= a + 1 for a, b in pairwise(levels))
    assert browser.find_element("tag name", "html").get_attribute("lang") == "en"


CONTRASTS = """
const numbers = colour => {
  const canvas = new OffscreenCanvas(1, 1).getContext("2d");
  canvas.fillStyle = colour; canvas.fillRect(0, 0, 1, 1);
  return Array.from(canvas.getImageData(0, 0, 1, 1).data);
};
const light = ([r, g, b]) => [r, g, b].map(x => x / 255).map(
  x => x <= 0.03928 ? x / 12.92 : ((x + 0.055) / 1.055) ** 2.4
).reduce((sum, x, i) => sum + x * [0.2126, 0.7152, 0.0722][i], 0);
const behind = node => {
  for (; node; node = node.parentElement) {
    const found = numbers(getComputedStyle(node).backgroundColor);
    if (found[3] === 255) return found;
  }
  return [255, 255, 255, 255];
};
return Array.from(document.body.querySelectorAll("*")).filter(
  node => Array.from(node.childNodes).some(x => x.nodeType === 3 && x.data.trim())
).map(node => {
  const [a, b] = [numbers(getComputedStyle(node).color), behind(node)].map(light);
  return [(Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05), node.outerHTML.slice(0, 200)];
});
"""
"""For every element with text of its own the contrast of W3C's guidelines, 1.4.3."""


@pytest.mark.parametrize("name", ["spaces", "growth"])
def test_it_can_be_read_in_light_and_dark(browser: Any, pages: dict[str, Path], name: str) -> None:
    papers = []
    for scheme in ("light", "dark"):
        opened(browser, pages[name], scheme=scheme)
        body = browser.find_element("tag name", "body")
        papers.append(body.value_of_css_property("background-color"))
        found = browser.execute_script(CONTRASTS)
        assert len(found) > 10
        assert [one for one in found if one[0] < 4.5] == []
    assert papers[0] != papers[1]


@pytest.mark.parametrize("name", ["spaces", "growth"])
def test_a_narrow_screen_is_not_scrolled_sideways(
    browser: Any, pages: dict[str, Path], name: str
) -> None:
    opened(browser, pages[name], width=360)
    root = "document.documentElement"
    assert browser.execute_script(f"return {root}.scrollWidth <= {root}.clientWidth")
