"""The files of the dashboard: their weight, where they come from, and whom they may call."""

import gzip
import hashlib
import re

from playwright.sync_api import expect

from tests.conftest import DASHBOARD
from tests.support.broker import Broker

LIMIT_BYTES = 200_000


def loaded(*, by_everybody: bool = False) -> list[str]:
    """The files that index.html, the style sheet and the scripts name; or those of them that every visit loads."""
    sources = ("index.html", "style.css", "curve.js", *(() if by_everybody else ("sign.html",)))
    text = "".join((DASHBOARD / name).read_text(encoding="utf-8") for name in sources)
    if by_everybody:
        text = re.sub(r'<template id="with-.*?</template>', "", text)
    named = re.findall(r"""(?:src|href|href:|url\()=?\s*["'(]([\w./-]+\.(?:js|css|woff2))["')]""", text)
    return sorted(set(named))


def test_the_page_weighs_at_most_200_kb_compressed():
    files = ["index.html", *loaded(by_everybody=True)]
    weight = sum(len(gzip.compress((DASHBOARD / name).read_bytes(), 9)) for name in files)
    assert len(files) > 20
    assert weight <= LIMIT_BYTES, weight


def test_no_two_elements_have_one_id():
    named = re.findall(r"""\bid="([\w-]+)\"""", (DASHBOARD / "index.html").read_text(encoding="utf-8"))
    assert len(named) == len(set(named)) > 100


def test_every_file_is_used_and_every_used_file_is_there():
    there = {
        str(path.relative_to(DASHBOARD)) for path in DASHBOARD.rglob("*") if path.suffix in {".js", ".css", ".woff2"}
    }
    assert there == set(loaded())


def test_what_is_not_ours_is_unchanged_and_licensed():
    vendor = DASHBOARD / "vendor"
    rows = re.findall(r"^\| (\S+) \|.*\| ([0-9a-f]{64}) \|$", (vendor / "README.md").read_text(), re.MULTILINE)
    ours = {"README.md"} | {path.name for path in vendor.glob("*LICENSE*")}
    assert {name for name, _ in rows} == {path.name for path in vendor.iterdir()} - ours
    for name, digest in rows:
        assert hashlib.sha256((vendor / name).read_bytes()).hexdigest() == digest
        assert list(vendor.glob(f"{name.split('.')[0]}.LICENSE*"))


def test_the_page_calls_nobody_but_the_broker(room: Broker, visit):
    """The policy in the page holds: no foreign script, markup, call or code made of text gets through."""
    one = visit()
    expect(one.page.locator("#link-word")).to_have_text("connected")
    blocked = one.page.evaluate(
        """async () => {
            const names = [];
            addEventListener("securitypolicyviolation", event => names.push(event.effectiveDirective));
            const add = (tag, its) => document.body.append(Object.assign(document.createElement(tag), its));
            const elsewhere = "http://127.0.0.1:9/";
            const tries = [
                () => fetch(elsewhere),
                () => new Function("window.hacked = 1")(),
                () => { document.body.innerHTML = "<b>hacked</b>" },
                () => add("script", {textContent: "window.hacked = 1"}),
                () => add("script", {src: `${elsewhere}x.js`}),
                () => add("iframe", {src: elsewhere}),
                () => add("img", {src: `${elsewhere}x.png`}),
                () => { add("form", {action: elsewhere}); [...document.forms].at(-1).submit() },
            ];
            // Later, for what a debugger evaluates itself is exempt.
            await new Promise(resolve => setTimeout(resolve));
            for (const each of tries) { try { await each() } catch { names.push("threw") } }
            const wanted = ["connect-src", "form-action", "frame-src", "img-src", "require-trusted-types-for"];
            for (let turn = 0; turn < 200 && !wanted.every(name => names.includes(name)); turn++)
                await new Promise(resolve => setTimeout(resolve, 100));
            return [[...new Set(names)].sort(), window.hacked ?? null];
        }"""
    )
    one.console.clear()  # where Chromium told of each of these
    assert {"connect-src", "form-action", "frame-src", "img-src", "require-trusted-types-for"} <= set(blocked[0])
    assert blocked[1] is None
