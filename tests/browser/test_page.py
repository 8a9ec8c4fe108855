"""The page in Airflow's UI, as a person uses it. `make screenshots` takes the pictures of the docs on the way."""

from __future__ import annotations

import json
import re
from urllib.parse import quote

from playwright.sync_api import expect
from shop import MISRATED, UNPRICED

PACE_S = 0.01
"""A product. Of a batch, some seconds: long enough to be seen, and to be stopped."""

STREAM = "[data-testid=reindex-stream]"


def test_a_person_sees_and_steers_a_stream(someone, airflow, shop):
    """From the sign-in to a cancelled run, without loading the page again, and without an error in the browser's console."""
    with someone() as person:
        person.sign_in()
        person.page.evaluate("globalThis.loadedOnce = true")
        person.open_stream("products")

        _runs_and_watches(person, shop)
        _reads_why_a_batch_failed(person)
        _retries_what_is_parked(person, shop)
        before = _rebuilds_and_approves(person)
        _rolls_back(person, before)
        _looks_and_compares(person)
        _cancels(person, shop)
        _sees_all_streams(person, airflow)

        assert person.page.evaluate("globalThis.loadedOnce")
        assert person.errors == []


def _runs_and_watches(person, shop):
    shop.slow_down(PACE_S)
    question = person.ask("Run now")
    expect(question).to_contain_text("Indexes public.products on connection 'shop_db'")
    person.confirm(question, "Run now")
    expect(person.page.get_by_test_id("followed")).to_contain_text("Run now: started.")
    expect(person.section("Under way")).to_contain_text("of 4,000 documents")
    shown = person.watch_bar()
    shop.hurry_up()
    person.wait_for_end("reindex")

    assert len([figure for figure in shown if 0 < figure < 100]) >= 2, shown
    assert shown == sorted(shown)
    expect(person.page.get_by_test_id("followed")).to_contain_text("Run now: completed.")
    expect(person.section("Run: reindex").get_by_test_id("figures")).to_contain_text("100 %")


def _reads_why_a_batch_failed(person):
    person.open_stream("reviews")
    person.confirm(person.ask("Run now"), "Run now")
    person.wait_for_end("reindex", "failed")
    batches = person.page.get_by_role("table", name="Batches")
    batch = batches.locator("[data-batch]").filter(has=person.page.locator("[data-state='failed']"))
    batch.get_by_role("button").click()
    reason = batches.get_by_test_id("batch-reason")
    expect(reason).to_contain_text(f"{MISRATED}")
    expect(reason).to_contain_text("max_failures")
    assert person.barriers(STREAM) == []
    person.take("failed", height=760)

    person.open_list()
    first = person.page.locator("[data-stream]").first
    expect(first).to_have_attribute("data-stream", "reviews")
    expect(first).to_contain_text("failing")


def _retries_what_is_parked(person, shop):
    person.open_stream("products")
    parked = person.section("Parked documents: 1")
    expect(parked.locator(f"[data-parked='{UNPRICED}']")).to_contain_text(
        'invalid input syntax for type numeric: "ask us"'
    )
    person.take("parked", of=parked)
    shop.mend()
    assert shop.indexed(UNPRICED) is None
    question = person.ask("Try all again")
    expect(question).to_contain_text("The next run tries all 1 parked documents again.")
    person.confirm(question, "Try again")
    expect(person.page.get_by_test_id("followed")).to_contain_text("Try parked documents again: completed.")
    expect(parked).to_contain_text("with the next run")
    person.confirm(person.ask("Run now"), "Run now")
    expect(person.section("Parked documents: 0")).to_be_visible()
    assert shop.indexed(UNPRICED) == "12.50"


def _rebuilds_and_approves(person):
    generations = person.section("Generations").locator("[data-generation]")
    before = generations.first.get_attribute("data-generation")
    question = person.ask("Rebuild …")
    question.get_by_text("Ask before the swap").click()
    assert person.barriers("[role=alertdialog]") == []
    person.confirm(question, "Rebuild")
    approve = person.page.get_by_role("button", name="Approve", exact=True)
    expect(approve).to_be_visible()
    expect(person.section("Under way: rebuild")).to_contain_text("waiting for approval")
    person.take("approval", height=720)
    person.confirm(person.ask(approve), "Approve")
    person.wait_for_end("rebuild")
    expect(generations).to_have_count(2)
    expect(generations.first).to_contain_text("live")
    expect(generations.last).to_have_attribute("data-generation", str(before))
    return before


def _rolls_back(person, generation):
    row = person.page.locator(f"[data-generation='{generation}']")
    question = person.ask(row.get_by_role("button", name="Roll back to this"))
    expect(question).to_contain_text(
        "Swaps index 'search.products' on connection 'search_db' back to the generation of"
    )
    expect(question).to_contain_text(generation)
    person.take("rollback", height=720)
    person.confirm(question, "Roll back")
    person.wait_for_end("rollback")
    expect(row).to_contain_text("live")


def _looks_and_compares(person):
    person.confirm(person.ask("Look now …"), "Look now")
    expect(person.section("Freshness")).to_contain_text("rows that wait")
    expect(person.page.get_by_test_id("answer")).to_contain_text("Nothing waits")
    person.confirm(person.ask("Compare only …"), "Compare only")
    expect(person.section("Last sweep")).to_contain_text("4,000 rows were compared with 4,000 documents.")


def _cancels(person, shop):
    shop.slow_down(3 * PACE_S)
    shop.touch(3_000)
    person.confirm(person.ask("Run now"), "Run now")
    # Some of it is done, and most of it is not.
    expect(person.section("Under way").get_by_test_id("figures")).to_have_text(re.compile(r"^[3-6]\d %"))
    assert person.barriers(STREAM) == []
    person.take("run", height=1180)
    person.confirm(person.ask("Cancel the run"), "Cancel the run")
    person.wait_for_end("reindex", "cancelled")
    shop.hurry_up()


def _sees_all_streams(person, airflow):
    airflow.wait_for_run("reindex_articles", airflow.trigger("reindex_articles"), timeout_s=400)
    person.open_list()
    rows = person.page.locator("[data-stream]")
    expect(rows).to_have_count(3)
    expect(rows.filter(has_text="articles")).to_contain_text("900")
    assert person.barriers("[data-testid=reindex-list]") == []
    person.take("streams", height=560)
    person.page.get_by_label("Search streams, sources and targets").fill("prod")
    expect(rows).to_have_count(1)
    person.page.get_by_label("Search streams, sources and targets").fill("")
    person.page.get_by_label("Show streams in this state").select_option("failing")
    expect(rows).to_have_count(1)
    person.page.get_by_label("Show streams in this state").select_option("")
    expect(rows).to_have_count(3)
    person.page.get_by_role("button", name="Stream").click()
    expect(rows.first).to_have_attribute("data-stream", "articles")


def test_the_page_is_where_people_look(someone, airflow):
    """On Airflow's home page, and in a tab of a Dag and of a run; dark, where the person has it so."""
    with someone(dark=True) as person:
        person.sign_in()
        card = person.page.get_by_test_id("reindex-card")
        expect(card).to_contain_text("All 3 streams")
        assert person.barriers("[data-testid=reindex-card]") == []
        person.take("card", of=card)
        person.page.goto(f"{person.url}/dags/reindex_products")
        person.open_tab()
        expect(person.page.get_by_role("heading", name="products", level=1)).to_be_visible()
        person.take("tab")
        runs = airflow.rest.get("/dags/reindex_articles/dagRuns", order_by="id", limit=1)["dag_runs"]
        run_id = runs[0]["dag_run_id"]
        person.page.goto(f"{person.url}/dags/reindex_articles/runs/{quote(run_id, safe='')}")
        person.open_tab()
        expect(person.section("Run: reindex")).to_contain_text(run_id)
        person.page.goto(f"{person.url}/plugin/reindex/streams/products")
        expect(person.section("Freshness")).to_be_visible()
        assert person.barriers(STREAM) == []
        person.take("dark", height=1500)
        assert person.errors == []


def test_who_may_read_only_is_offered_nothing(someone, airflow):
    """The buttons of acts are not there, nor the boxes by which parked documents are chosen."""
    passwords = json.loads((airflow.home / "passwords.json").read_text())
    with someone() as person:
        person.sign_in("viewer", passwords["viewer"])
        person.open_stream("products")
        expect(person.section("Runs").locator("[data-run]").first).to_be_visible()
        for name in ("Run now", "Rebuild …", "Look now …", "Roll back to this", "Reset …", "More …"):
            expect(person.page.get_by_role("button", name=name)).to_have_count(0)
        assert person.errors == []


def test_a_lost_connection_is_said(someone):
    """With the figures of before beside it; it goes when Airflow answers again."""
    with someone() as person:
        person.sign_in()
        person.open_list()
        rows = person.page.locator("[data-stream]")
        expect(rows).to_have_count(3)
        lost = person.page.get_by_text("The connection to Airflow is lost.")
        person.page.context.set_offline(True)
        expect(lost).to_be_visible()
        expect(rows).to_have_count(3)
        person.page.context.set_offline(False)
        expect(lost).to_have_count(0)
