"""A real browser for tests of pages: headless Chromium by Playwright, its own or one that is installed."""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

_INSTALLED = ('chromium', 'chromium-browser', 'google-chrome')


@contextmanager
def open_page() -> Iterator[tuple]:
    """A page of a browser, and a list that gets what goes wrong in it; without a browser the test is skipped."""
    playwright = pytest.importorskip('playwright.sync_api', reason='pip install playwright')
    with playwright.sync_playwright() as engines:
        browser = _launched(engines, playwright.Error)
        page = browser.new_page(viewport={'width': 1200, 'height': 900})
        errors: list[str] = []
        page.on('pageerror', lambda error: errors.append(str(error)))
        page.on('console', lambda message: errors.append(message.text) if message.type == 'error' else None)
        page.on('requestfailed', lambda request: errors.append(f'{request.url}: {request.failure}'))
        yield page, errors
        browser.close()


def _launched(engines, error_type: type[Exception]):
    installed = next(filter(None, map(shutil.which, _INSTALLED)), None)
    try:
        # in containers, where tests run as root, Chromium's own sandbox doesn't start
        return engines.chromium.launch(executable_path=installed, args=['--no-sandbox'])
    except error_type as error:
        pytest.skip(f'no browser: {str(error).splitlines()[0]}')
