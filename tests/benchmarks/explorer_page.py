"""How quick the explorer is with 6144 concepts and three pictures each, in Chromium, from disk.

    python tests/benchmarks/explorer_page.py [--concepts 6144] [--keep FOLDER]

Prints how long the page took to show its first cards, and how long each kind of filtering and sorting took, from the
change to the cards laid out; and for how long the page's thread computed, which does not depend on what else the
machine does. The figures of the concepts are made up, the thumbnails are copies of a few random ones.
The atlas is moved a frame at a time: 25 ms computed a frame with all 6144 in view and no GPU, 2.5 ms near.
"""

from __future__ import annotations

import argparse
import shutil
import tempfile
import time
from pathlib import Path

import torch
from playwright.sync_api import CDPSession, Page, sync_playwright

import usae_train as ut
from usae_train.model.statistics import Statistics
from usae_viz.explorer.page import address, explore, size_of
from usae_viz.explorer.sources import Card, Sources
from usae_viz.export.png import to_picture, write_png
from usae_viz.export.sheet import CELL
from usae_viz.pages.page_files import WEBP
from usae_viz.runs.metadata import ImageMetadata
from usae_viz.runs.run_folder import RenderedImage, RenderedObjective, RunFolder

BACKBONES = ("vit", "dino", "siglip")
CHANGES = {
    "search a word": "search('concept 37')",
    "search concepts": "search('40-4200, top:37')",
    "search nothing": "search('')",
    "sort by energy": "choose('#sort', 'energy')",
    "sort by universality": "choose('#sort', 'universality')",
    "fires in vit": "choose('.firing-selects label:nth-child(1) select', 'vit')",
    "but not in dino": "choose('.firing-selects label:nth-child(2) select', 'dino')",
    "clear": "document.querySelector('#clear-filters').click()",
    "range of universality": "slide('universality, at least', 60)",
    "clear again": "document.querySelector('#clear-filters').click()",
}
PAGE = """
const set = (element, value, event) => {
  element.value = value;
  element.dispatchEvent(new Event(event, { bubbles: true }));
};
globalThis.search = (text) => set(document.querySelector('#search'), text, 'input');
globalThis.choose = (where, value) => set(document.querySelector(where), value, 'change');
globalThis.slide = (name, to) => set(document.querySelector(`input[aria-label="${name}"]`), to, 'input');
true;  // a function at the end would be called
"""

FRAME_COUNT = 60
FRAMES = """async ([zooms, moves]) => {
  const canvas = document.querySelector("#atlas-canvas");
  const press = (key, shiftKey) => canvas.dispatchEvent(new KeyboardEvent("keydown", { key, shiftKey, bubbles: true }));
  for (let n = 0; n < zooms; n++) press("+", false);
  await new Promise(requestAnimationFrame);
  const from = performance.now();
  for (let n = 0; n < moves; n++) {
    press(n % 2 ? "ArrowLeft" : "ArrowRight", true);
    await new Promise(requestAnimationFrame);
  }
  return (performance.now() - from) / Math.max(1, moves);
}"""


def made_up(n_concepts: int, room: Path) -> Sources:
    """A USAE without backbones, and a run of three pictures per concept that are all the same few files."""
    generator = torch.Generator().manual_seed(0)
    usae = ut.USAE(dict.fromkeys(BACKBONES, 4), n_concepts, 4)
    fires = (torch.rand(3, n_concepts, generator=generator) ** 6 * 100_000).long()
    usae.statistics = Statistics(
        fires=fires,
        co_fires=(fires.amin(0) * torch.rand(n_concepts, generator=generator)).long(),
        energy=torch.rand(3, n_concepts, generator=generator) ** 4,
        quantiles=torch.rand(3, n_concepts, 5),
        top_images=torch.full((3, n_concepts, 8), -1),
        top_tokens=torch.zeros(3, n_concepts, 8, dtype=torch.int32),
        counts=torch.tensor([1000, 200_000]),
    )
    for name in BACKBONES:
        write_png(room / f"{name}.png", torch.zeros(3, 8, 8), {})
    drawings = []
    for concept in range(n_concepts):
        pictures = []
        for name in BACKBONES:
            scored = {other: {"code": 5.0, "rank": 1, "share": 0.5, "fires": True} for other in BACKBONES}
            scores = {"fired": concept % 9 > 0, "drawn_for": [name], "backbones": scored}
            about = ImageMetadata.model_validate(
                {"picture": name, "objective": f"Concept({concept})", "settings": {}, "scores": scores}
            )
            pictures.append(RenderedImage(room / f"{name}.png", f"concept-{concept:05d}/{name}", about, None))
        drawings.append(RenderedObjective(room, f"Concept({concept})", pictures, {}))
    run = RunFolder(room, None, None, drawings, [])
    return Sources(usae, [run], [Card(k, f"Concept({k})", [drawings[k]]) for k in range(n_concepts)])


def give_real_sizes(thumbs: Path, room: Path) -> None:
    """Put thumbnails of the usual size and weight in the place of tiny ones, which were quick to write."""
    generator = torch.Generator().manual_seed(0)
    real = []
    for number in range(9):
        canvas = torch.rand(1, 3, 28, 28, generator=generator)
        canvas = torch.nn.functional.interpolate(canvas, (CELL, CELL), mode="bicubic").clamp(0, 1)[0]
        real.append(room / f"{number}.webp")
        to_picture(canvas).save(real[-1], **WEBP)
    for number, thumb in enumerate(sorted(thumbs.rglob("*.webp"))):
        thumb.unlink()
        thumb.hardlink_to(real[number % len(real)])


def measure(page_file: Path) -> None:
    """Open the page and use it, with the network off."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=shutil.which("chromium"), args=["--no-sandbox", "--disable-gpu"], timeout=120_000
        )
        context = browser.new_context(viewport={"width": 1400, "height": 900}, offline=True)
        context.set_default_timeout(120_000)
        page = context.new_page()
        thread = context.new_cdp_session(page)
        thread.send("Performance.enable", {"timeDomain": "threadTicks"})
        page.goto(address(page_file), wait_until="commit")
        page.wait_for_selector("body[data-ready]")
        page.wait_for_timeout(1000)
        painted = page.evaluate("performance.getEntriesByType('paint').at(-1)?.startTime ?? NaN")
        print(f"opening: painted after {painted:.0f} ms; the page's thread computed for {_computed(thread):.0f} ms")
        print(
            f"{page.evaluate('document.querySelectorAll(`.card`).length')} cards made, "
            f"{page.evaluate('document.images.length')} thumbnails asked for",
            flush=True,
        )
        page.evaluate(PAGE)
        for what, change in CHANGES.items():
            before = _computed(thread)
            laid_out = page.evaluate(
                f"""async () => {{ const from = performance.now(); {change}; document.body.offsetHeight;
                const done = performance.now() - from; await new Promise(requestAnimationFrame); return done; }}"""
            )
            computed, count_text = _computed(thread) - before, page.inner_text("#result-count")
            print(f"{what:22} {laid_out:6.0f} ms to the layout, {computed:6.0f} ms computed   {count_text}", flush=True)
        measure_atlas(page, thread)
        browser.close()


def measure_atlas(page: Page, thread: CDPSession) -> None:
    """Move and zoom the atlas, a frame at a time: all concepts in view, then a tenth."""
    page.evaluate("document.querySelector('#atlas-toggle').click()")
    page.wait_for_timeout(500)
    for what, zooms in (("all", 0), ("near", 12)):
        page.evaluate(FRAMES, [zooms, 0])
        before = _computed(thread)
        milliseconds = page.evaluate(FRAMES, [0, FRAME_COUNT])
        computed = (_computed(thread) - before) / FRAME_COUNT
        print(f"atlas, {what:15} {milliseconds:6.1f} ms a frame, {computed:6.1f} ms computed", flush=True)


def _computed(thread: CDPSession) -> float:
    """Milliseconds that the page's main thread has computed: what a busy machine adds is not in it."""
    metrics = thread.send("Performance.getMetrics")["metrics"]
    return float(1000 * next(each["value"] for each in metrics if each["name"] == "TaskDuration"))


def main() -> None:
    """Build the page, measure it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--concepts", type=int, default=6144, help="how many (default: 6144)")
    parser.add_argument("--keep", type=Path, help="build the page here and leave it (default: a temporary folder)")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        room = Path(temporary)
        out = args.keep or room / "page"
        began = time.perf_counter()
        if not (out / "index.html").is_file():
            explore(made_up(args.concepts, room / "run"), out, patches=0)
            give_real_sizes(out / "explorer" / "thumbs", out)
            print(f"built in {time.perf_counter() - began:.0f} s, {size_of(out) / 1e6:.0f} MB")
        measure(out / "index.html")


if __name__ == "__main__":
    main()
