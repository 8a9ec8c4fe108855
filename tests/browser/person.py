"""What a person does in Airflow's UI, in a real Chromium."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, ConsoleMessage, Locator, Page, expect, sync_playwright

TIMEOUT_MS = 400_000
"""Of every wait: generous, since tests share the machine. It is no figure that a test is about."""
WIDE = {"width": 1440, "height": 960}
_QUIET = (
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)


class Person:
    """Somebody with a tab of the browser. Errors in its console are kept from the moment of the sign-in on: before, Airflow's own
    page asks for what strangers do not get.

    :param pictures: folder for pictures of the page; None takes none."""

    def __init__(self, page: Page, url: str, pictures: Path | None) -> None:
        self.page = page
        self.url = url
        self.errors: list[str] = []
        self._pictures = pictures

    # -- where they are

    def sign_in(self, user: str = "admin", password: str = "admin") -> None:
        self.page.goto(f"{self.url}/")
        self.page.get_by_label("Username").fill(user)
        self.page.get_by_label("Password").fill(password)
        self.page.get_by_role("button", name="Sign in").click()
        expect(self.page.get_by_role("link", name="Reindex", exact=True)).to_be_visible()
        self.page.on("console", self._heard)
        self.page.on("pageerror", lambda error: self.errors.append(str(error)))

    def _heard(self, message: ConsoleMessage) -> None:
        if message.type == "error":
            self.errors.append(f"{message.text} ({message.location.get('url')})")

    def open_list(self) -> None:
        self.page.get_by_role("link", name="Reindex", exact=True).click()
        expect(self.page.get_by_role("heading", name="Reindex", level=1)).to_be_visible()

    def open_stream(self, name: str) -> None:
        self.open_list()
        self.page.get_by_role("link", name=name, exact=True).click()
        expect(self.page.get_by_role("heading", name=name, level=1)).to_be_visible()
        expect(self.section("Freshness")).to_be_visible()

    def open_tab(self) -> None:
        """Ours, of the Dag or the run whose page this is; it comes later than the link of the same name in the nav."""
        self.page.locator("a[href^='/dags/'][href*='/plugin/reindex']").click()

    def section(self, title: str) -> Locator:
        """By the beginning of its heading."""
        return self.page.get_by_role("region", name=re.compile(f"^{title}"))

    @property
    def newest_run(self) -> Locator:
        return self.section("Runs").locator("[data-run]").first

    # -- what they do

    def ask(self, button: str | Locator) -> Locator:
        """Press a button that asks first; the question."""
        found = self.page.get_by_role("button", name=button, exact=True) if isinstance(button, str) else button
        found.click()
        question = self.page.get_by_role("alertdialog")
        expect(question).to_be_visible()
        return question

    def confirm(self, question: Locator, answer: str) -> None:
        question.get_by_role("button", name=answer, exact=True).click()
        expect(self.page.get_by_role("alertdialog")).to_have_count(0)

    def wait_for_end(self, mode: str, state: str = "completed") -> None:
        """Of the newest run, which does ``mode``."""
        expect(self.newest_run).to_contain_text(mode)
        expect(self.newest_run).to_have_attribute("data-state", state)

    def watch_bar(self) -> list[int]:
        """What the bar of the run under way showed, until it was over; each figure once."""
        bar = self.section("(Under way|Run:)").get_by_role("progressbar")
        seen: list[int] = []
        running = self.page.locator("section [data-state='queued'], section [data-state='running']").first
        while running.is_visible():
            shown = bar.get_attribute("aria-valuenow")
            if shown is not None and (not seen or int(float(shown)) != seen[-1]):
                seen.append(int(float(shown)))
            self.page.wait_for_timeout(200)
        return seen

    def barriers(self, of: str) -> list[str]:
        """What keeps people out who do not see well or use no mouse, by axe's rules, of what the selector finds."""
        found = Axe().run(self.page, context=of).response["violations"]
        return [f"{one['id']}: {one['help']}: {node['html'][:200]}" for one in found for node in one["nodes"]]

    def take(self, name: str, *, of: Locator | None = None, height: int | None = None) -> None:
        """A picture for the docs."""
        if self._pictures is None:
            return
        self.page.set_viewport_size({**WIDE, "height": height or WIDE["height"]})
        # Pictures show what is there, and not how it comes.
        self.page.wait_for_timeout(800)
        (of or self.page).screenshot(path=self._pictures / f"{name}.png", animations="disabled")
        self.page.set_viewport_size(WIDE)


class Chromium:
    def __init__(self, browser: Browser) -> None:
        self._browser = browser

    @contextmanager
    def person(self, url: str, *, dark: bool = False, pictures: Path | None = None) -> Iterator[Person]:
        """Somebody new, who has not signed in yet."""
        context = self._browser.new_context(viewport=WIDE, color_scheme="dark" if dark else "light", locale="en-GB")
        context.set_default_timeout(TIMEOUT_MS)
        try:
            yield Person(context.new_page(), url, pictures)
        finally:
            context.close()


@contextmanager
def chromium(executable: str) -> Iterator[Chromium]:
    arguments = [*_QUIET, *(["--no-sandbox"] if os.geteuid() == 0 else [])]
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=executable, args=arguments)
        try:
            yield Chromium(browser)
        finally:
            browser.close()
