"""Waiting for a page: what an action does may be seen only a moment later, on a busy machine seconds later."""

TURNS, TURN = 300, 100  # of so many milliseconds: half a minute


def soon(page, check):
    """Wait until something holds, as long as a busy machine may take."""
    for _ in range(TURNS):
        if check():
            return
        page.wait_for_timeout(TURN)
    raise AssertionError("it never came to hold")


def becomes(page, read, expected):
    """Wait until what is read is what is expected; fails with what was read last."""
    for _ in range(TURNS):
        value = read()
        if value == expected:
            return
        page.wait_for_timeout(TURN)
    assert value == expected
