"""Makes icon.png and logo.png of the page's own wordmark: `.venv/bin/python deploy/homeassistant/addon/draw.py`."""

import shutil
from pathlib import Path

from playwright.sync_api import sync_playwright

HERE = Path(__file__).parent
PAGE = HERE.parents[2] / "edge" / "dashboard" / "index.html"
ICON_PIXELS, LOGO_PIXELS = 128, (250, 100)
# Legible on Home Assistant's light cards and on its dark ones.
STYLE = """
html, body {{ background: none !important; }}
body > * {{ display: none !important; }}
.wordmark {{ display: flex !important; position: fixed; inset: 0; margin: 0; justify-content: center;
  align-items: center; font-size: {text}px; color: #2f7f78; gap: {gap}px; }}
.wordmark .logo {{ width: {mark}px; height: {mark}px; }}
"""


def draw(page, name: str, size: tuple[int, int], **style: int) -> None:
    page.set_viewport_size({"width": size[0], "height": size[1]})
    page.goto(PAGE.as_uri())
    page.evaluate("document.body.append(document.querySelector('.wordmark'))")
    page.add_style_tag(content=STYLE.format(**style))
    page.evaluate("document.fonts.load('20px Figtree')")
    page.screenshot(path=HERE / name, omit_background=True)


with sync_playwright() as playwright:
    flags = ["--no-sandbox", "--disable-gpu"]
    browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=flags)
    own = browser.new_context(bypass_csp=True, reduced_motion="reduce").new_page()
    draw(own, "icon.png", (ICON_PIXELS, ICON_PIXELS), text=0, gap=0, mark=ICON_PIXELS)
    draw(own, "logo.png", LOGO_PIXELS, text=42, gap=10, mark=52)
    browser.close()
