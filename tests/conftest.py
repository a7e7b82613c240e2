import shutil
import signal

import pytest

BROWSER_ARGUMENTS = ["--no-sandbox", "--disable-gpu"]  # CI runs as root, on machines without a display


@pytest.fixture(scope="session", autouse=True)
def ctrl_c_is_heard():
    """A script's background job ignores Ctrl-C, and so do its children; tests send it."""
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="session")
def chromium():
    """Debian's Chromium, driven by Playwright; one for all tests, since a process can start Playwright only once."""
    sync_api = pytest.importorskip("playwright.sync_api")
    program = shutil.which("chromium")
    if program is None:
        pytest.skip("needs Debian's package chromium")
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=program, args=BROWSER_ARGUMENTS, timeout=120_000)
        yield browser
        browser.close()
