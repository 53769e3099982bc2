"""The page at `/` in a browser, with the embedded model behind it."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import pytest

from paretolm.recipes.convert import bake, load
from paretolm.serving import conversation
from paretolm.serving.page import PATHS
from tests.browser import Pages

from .conftest import NAME, Running, running

if TYPE_CHECKING:
    from playwright.sync_api import Page

RECIPE = "streaming-llm(window=32)"
QUESTION = "What did the keeper of the lighthouse see?"
NUMBER = re.compile(r"[\d.]+")
GREW = """() => {  // lengths of the answer and cells of its speed, as they were seen
  window.seen = { lengths: [], speeds: [], held: [] };
  new MutationObserver(() => {
    const text = document.querySelector(".answer[aria-busy] .said");
    if (!text) return;
    seen.lengths.push(text.textContent.length);
    seen.speeds.push(document.querySelector("td.with.live[data-is=speed]")?.textContent);
    seen.held.push(document.querySelector("td.with.live[data-is=held]")?.textContent);
  }).observe(document.body, { childList: true, characterData: true, subtree: true });
}"""


@pytest.fixture(scope="module")
def server() -> Iterator[Running]:
    """Its answers are as long as they may be."""
    lm = load("reference")
    lm.model.generation_config.eos_token_id = None
    with pytest.MonkeyPatch.context() as patch, running(RECIPE, lm=lm, tokens=1024) as at_work:
        patch.setattr(conversation, "stops", lambda _: [])
        yield at_work


# Chromium does not always keep the body of a stream for whoever asks afterwards.
KEEP = """
window.heard = [];
const asked = window.fetch;
window.fetch = async (...given) => {
    const answer = await asked(...given);
    if (!(answer.headers.get("content-type") ?? "").startsWith("text/event-stream")) return answer;
    const [own, copy] = answer.body.tee();
    new Response(copy).text().then((text) => window.heard.push(text), () => {});
    return new Response(own, {status: answer.status, headers: answer.headers});
};
"""


def opened(browser: Pages, server: Running, **more: Any) -> Page:
    page = browser(**more)
    page.add_init_script(KEEP)
    page.goto(f"http://127.0.0.1:{server.port}/")
    page.get_by_text(NAME, exact=True).wait_for()
    return page


def settle(page: Page, most: int, temperature: float = 0.7, system: str = "") -> None:
    page.get_by_text("Settings").click()
    page.get_by_label("Max tokens").fill(str(most))
    page.get_by_label("Temperature").fill(str(temperature))
    page.get_by_label("System prompt").fill(system)
    page.get_by_text("Settings").click()


def say(page: Page, text: str) -> Any:
    """Sends it, and gives the request that came of it."""
    with page.expect_request("**/v1/chat/completions") as sent:
        page.get_by_label("Message").fill(text)
        page.get_by_label("Message").press("Enter")
    return sent.value


def ended(page: Page) -> None:
    page.locator(".answer:not([aria-busy]) .cost").last.wait_for()
    page.locator("#send:enabled").wait_for()


def cell(page: Page, arm: str, what: str) -> str:
    return page.locator(f"td.{arm}[data-is={what}]").inner_text()


def last_chunk(page: Page, number: int) -> dict[str, Any]:
    """Of the answer of this number; the first is 1."""
    page.wait_for_function(f"window.heard.length === {number}")
    text: str = page.evaluate("window.heard.at(-1)")
    return json.loads(text.split("data: ")[-2])


def test_an_answer_grows_beside_its_live_numbers(browser, server):
    page = opened(browser, server)
    assert page.get_by_text(f"under {RECIPE}").is_visible()
    settle(page, 60)
    page.evaluate(GREW)
    say(page, QUESTION)
    ended(page)
    seen = page.evaluate("seen")
    assert seen["lengths"] == sorted(seen["lengths"])
    assert len(set(seen["lengths"])) > 5
    assert len({s for s in seen["speeds"] if s and NUMBER.fullmatch(s)}) > 1
    assert len({h for h in seen["held"] if h}) > 1
    told = last_chunk(page, 1)
    own = told["paretolm"]
    assert told["usage"]["completion_tokens"] == 60
    assert float(cell(page, "with", "speed")) == pytest.approx(own["tokens_per_second"], abs=0.06)
    assert cell(page, "with", "first") == f"{own['seconds_to_first']:.2f} s"
    assert cell(page, "with", "held") == f"{own['kv_bytes'] / 2**10:.0f} KiB"
    assert cell(page, "without", "held") == f"{own['dense_kv_bytes'] / 2**10:.0f} KiB"
    assert own["kv_bytes"] < own["dense_kv_bytes"]
    assert cell(page, "without", "speed") == "–"  # nobody asked it yet
    assert "the untouched model's" in page.locator(".cost").inner_text()
    assert page.locator("#chart polyline.with").get_attribute("points").count(" ") > 1


def test_the_untouched_model_answers_beside(browser, server):
    page = opened(browser, server)
    settle(page, 60)
    first = say(page, QUESTION)
    ended(page)
    with page.expect_request("**/v1/chat/completions") as sent:
        page.get_by_role("button", name="Answer with the untouched model too").click()
    ended(page)
    asked, again = first.post_data_json, sent.value.post_data_json
    assert again == {**asked, "model": f"{NAME}:untouched"}
    own = last_chunk(page, 2)["paretolm"]
    assert own["kv_bytes"] == own["dense_kv_bytes"]
    assert cell(page, "without", "held") == f"{own['kv_bytes'] / 2**10:.0f} KiB"
    assert float(cell(page, "without", "speed")) == pytest.approx(own["tokens_per_second"], abs=0.06)
    assert [box.inner_text() for box in page.locator(".answer h3").all()] == ["With the recipe", "Untouched"]
    told = page.locator(".answer.with .said").inner_text().strip()
    said = say(page, "And then?").post_data_json["messages"]
    ended(page)
    assert [m["role"] for m in said] == ["user", "assistant", "user"]
    assert said[1]["content"] == told  # what the recipe said counts


def test_escape_stops_an_answer_and_frees_the_model(browser, server):
    page = opened(browser, server)
    settle(page, 900)
    cancelled = server.metrics.cancelled._value.get()
    say(page, QUESTION)
    page.locator(".answer .said", has_text=re.compile(r"\w{3}")).wait_for()
    page.keyboard.press("Escape")
    page.locator(".cost", has_text="stopped").wait_for()
    server.wait(lambda: not server.busy, 60)
    assert server.metrics.cancelled._value.get() == cancelled + 1
    assert page.get_by_role("button", name="Stop").is_hidden()
    kept = page.locator(".answer .said").inner_text().strip()
    settle(page, 4)
    assert say(page, "Go on.").post_data_json["messages"][1] == {"role": "assistant", "content": kept}
    ended(page)
    page.get_by_role("button", name="New conversation").click()
    assert page.locator(".turn").count() == 0
    assert len(say(page, "Again.").post_data_json["messages"]) == 1
    ended(page)


def test_a_mistake_is_a_sentence_and_nothing_typed_is_lost(browser, server):
    page = opened(browser, server, expected="status of 400")
    settle(page, 2000)
    say(page, QUESTION)
    told = page.get_by_role("alert").filter(has_text="together they may have 1024")
    told.wait_for()
    assert re.fullmatch(r"The prompt has \d+ tokens and the answer 2000, .*, or ask for less\.", told.inner_text())
    assert page.get_by_label("Message").input_value() == QUESTION
    assert page.locator(".turn").count() == 0
    settle(page, 4, system="Be brief.")
    assert say(page, QUESTION).post_data_json["messages"][0] == {"role": "system", "content": "Be brief."}
    ended(page)
    assert told.is_hidden()


def test_a_server_that_is_gone_is_a_sentence(browser):
    with running(RECIPE) as server:
        page = opened(browser, server, expected="ERR_CONNECTION_REFUSED")
    say(page, QUESTION)
    page.get_by_role("alert").filter(has_text="The server cannot be reached; see whether it still runs").wait_for()


def test_a_key_is_asked_for_and_kept_in_the_tab(browser):
    with running(RECIPE, keys=("first-key",)) as server:
        for path in PATHS:
            status, headers, text = server.ask(path)
            assert (status, NAME in text, "first-key" in text) == (200, False, False)
            assert "unsafe" not in headers["content-security-policy"]
            assert server.ask(path, headers={"Host": "evil.example"})[0] == 421
        page = browser(f"http://127.0.0.1:{server.port}/", expected="status of 401")
        door = page.get_by_role("dialog", name="This server asks for a key")
        for given in ("wrong", "first-key"):
            door.get_by_label("API key").fill(given)
            door.get_by_label("API key").press("Enter")
            if given == "wrong":
                door.get_by_role("alert").filter(has_text="is not one of this server's").wait_for()
        page.get_by_text(f"under {RECIPE}").wait_for()
        assert door.is_hidden()
        settle(page, 4)
        say(page, "river")
        ended(page)
        kept = page.evaluate("[{...sessionStorage}, {...localStorage}, document.cookie]")
        assert kept == [{"paretolm-key": "first-key"}, {}, ""]
        page.get_by_role("button", name="Forget the key").click()
        door.wait_for()
        assert page.evaluate("sessionStorage.length") == 0
        page.get_by_role("button", name="Not now").click()
        page.get_by_role("button", name="Enter a key").click()
        door.wait_for()


@pytest.mark.parametrize(("scheme", "dark"), [("light", False), ("dark", True)])
def test_a_phone_has_room_for_all_of_it(browser, server, scheme, dark):
    page = opened(browser, server, width=360, height=740, color_scheme=scheme, has_touch=True)
    settle(page, 20)
    say(page, "<img src=x onerror=alert(1)> " + "long" * 60)
    ended(page)
    assert page.locator(".you img").count() == 0
    assert page.locator(".you").inner_text().startswith("<img src=x")
    page.get_by_text("Settings").click()
    assert page.evaluate("document.documentElement.scrollWidth") == 360
    shade = [int(part) for part in NUMBER.findall(page.evaluate("getComputedStyle(document.body).backgroundColor"))]
    assert (max(shade) < 100) == dark
    page.get_by_role("button", name="Light or dark").click()
    after = [int(part) for part in NUMBER.findall(page.evaluate("getComputedStyle(document.body).backgroundColor"))]
    assert (max(after) < 100) != dark


def test_weights_changed_for_good_are_said_and_nothing_is_offered(browser):
    changed = bake(load("reference"), "magnitude(sparsity=0.3)")
    with running(lm=changed, tokens=1024) as server:
        page = opened(browser, server)
        assert "magnitude(sparsity=0.3" in page.locator("#recipe").inner_text()
        assert "the untouched model is not here to be asked" in page.locator("#note").inner_text()
        settle(page, 8)
        say(page, QUESTION)
        ended(page)
        assert page.get_by_role("button", name="untouched").count() == 0


def test_the_untouched_model_alone_has_one_column(browser):
    with running() as server:
        page = opened(browser, server)
        assert page.get_by_text("the untouched model: no recipe is in force").is_visible()
        settle(page, 8, 0)
        say(page, "river")
        ended(page)
        assert page.get_by_role("columnheader").all_inner_texts() == ["Untouched"]
        assert NUMBER.match(cell(page, "without", "held"))
        assert page.get_by_role("button", name="untouched").count() == 0
