import os
import shutil
import signal

# Before torch is imported, and for all processes that tests start: models are so small that a second thread gains
# nothing, and beside other work the two wait for each other (killed trainings: 4 minutes, and more than 10 with two).
os.environ.setdefault("OMP_NUM_THREADS", "1")

import pytest
from real_networks import WHERE, real_folder

BROWSER_ARGUMENTS = ["--no-sandbox", "--disable-gpu"]  # CI runs as root, on machines without a display


@pytest.fixture(scope="session", autouse=True)
def ctrl_c_is_heard():
    """A script's background job ignores Ctrl-C, and so do its children; tests send it."""
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(autouse=True)
def no_syncing(monkeypatch, request):
    """Files are not waited for to reach the disk, 14 ms each; but for tests marked `syncing`."""
    if request.node.get_closest_marker("syncing") is None:
        monkeypatch.setattr("usae_train.files.placing._sync_one", lambda place: None)


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


@pytest.fixture(scope="session")
def real():
    """The folder of real weights and photographs; its README says what is in it."""
    folder = real_folder()
    if folder is None:
        pytest.skip(f"no real networks: {WHERE}")
    return folder
