#!/usr/bin/python3
"""Goal: in a real browser, a person signs in by a link, asks (and the Enter of an input method sends nothing), sees evidence and
a cited answer, opens the source with the passage marked, asks on, says what they think of it, opens an earlier conversation, saves
it, deletes it, and signs out. What they may no longer read is withheld. Nothing of the page breaks its content security policy.
A picture of each step is left where HISHO_SHOTS says."""
import json
import os
import pathlib
import shutil
import sys
import tempfile

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))
from appliance import Appliance, ROOT, skip, wait_for  # noqa: E402

try:
    from selenium import webdriver
    from selenium.webdriver.common.by import By
    from selenium.webdriver.common.keys import Keys
except ImportError:
    skip("python3-selenium is not installed")
if not shutil.which("chromium") or not shutil.which("chromedriver"):
    skip("chromium and chromium-driver are not installed")

SHOTS = os.environ.get("HISHO_SHOTS")
QUESTION = "格付Bの取引先の与信限度額の上限はいくらですか。"
POLICY = (ROOT / "docs/demo/tokai/policy.yaml").read_text()
CLOSED = POLICY.replace("\nrules:\n", "\nrules:\n  - {id: closed, deny: [ask, download], who: {users: [tanaka]}, collections: [営業],"
                        " level: {up_to: 極秘}}\n")


def browser(width, height, downloads=None):
    options = webdriver.ChromeOptions()
    for argument in ("--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage",
                     f"--window-size={width},{height}", "--ignore-certificate-errors", "--hide-scrollbars"):
        options.add_argument(argument)
    options.add_experimental_option("prefs", {"intl.accept_languages": "ja,en"})
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    driver = webdriver.Chrome(options=options, service=webdriver.chrome.service.Service(shutil.which("chromedriver")))
    # A window of a headless browser has a least width; what is shown in it has none.
    driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride",
                           {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": False})
    if downloads:
        driver.execute_cdp_cmd("Browser.setDownloadBehavior", {"behavior": "allow", "downloadPath": str(downloads)})
    return driver


def dark(driver, on=True):
    driver.execute_cdp_cmd("Emulation.setEmulatedMedia",
                           {"features": [{"name": "prefers-color-scheme", "value": "dark" if on else "light"}]})


def shot(driver, name):
    if SHOTS:
        pathlib.Path(SHOTS).mkdir(parents=True, exist_ok=True)
        driver.save_screenshot(str(pathlib.Path(SHOTS) / f"{name}.png"))


def by_id(driver, name):
    return driver.find_element(By.ID, name)


def all_of(driver, selector):
    return driver.find_elements(By.CSS_SELECTOR, selector)


def ask(driver, question, turns):
    by_id(driver, "question").send_keys(question + Keys.ENTER)
    wait_for(f"an answer to {question}", lambda: len(all_of(driver, ".turn[data-outcome]")) == turns, 300)
    return all_of(driver, ".turn")[-1]


def click(driver, e):
    """As a person does, who scrolls until they see it: the driver does not know of the bars that stay."""
    driver.execute_script("arguments[0].scrollIntoView({block: 'center'})", e)
    e.click()


def listed(driver):
    return driver.execute_script("return [...document.querySelectorAll('#conversations button')].map((b) => b.title)")


def sign_in(a, driver):
    link = a.hisho("user", "link", "tanaka", tenant="tokai").strip()
    driver.get(link)
    wait_for("the room opens", lambda: by_id(driver, "room").is_displayed(), 20)
    return link


def apply(a, policy):
    file = a.dir / "changed.yaml"
    file.write_text(policy)
    a.hisho("policy", "apply", file, tenant="tokai")


def check_asking(a, driver):
    assert "#" not in driver.current_url, "the code stays in the address"
    assert "tokai" in by_id(driver, "who").text
    wait_for("an empty list says so", lambda: "まだありません" in by_id(driver, "history-state").text, 20)
    wait_for("what one may read is offered", lambda: all_of(driver, "#recent-list button"), 20)
    assert "議事録" not in by_id(driver, "welcome").text, "a title that may not be read"
    shot(driver, "welcome")

    box = by_id(driver, "question")
    # The Enter that ends a conversion: the browser says isComposing, and nothing is sent.
    driver.execute_script("""arguments[0].value = 'よしん';
        arguments[0].dispatchEvent(new KeyboardEvent('keydown',
            {key: 'Enter', isComposing: true, bubbles: true, cancelable: true}));""", box)
    assert not all_of(driver, ".turn"), "an unfinished word was sent"
    box.clear()
    turn = ask(driver, QUESTION, 1)
    assert turn.find_elements(By.CSS_SELECTOR, ".evidence button"), "no evidence is shown"
    assert "与信管理規程" in turn.find_element(By.CSS_SELECTOR, ".side").text
    wait_for("the list holds it", lambda: listed(driver) == [QUESTION], 20)
    assert "#cnv_" in driver.current_url, driver.current_url
    shot(driver, "answer")
    dark(driver)
    shot(driver, "answer-dark")
    dark(driver, False)

    click(driver, turn.find_element(By.CSS_SELECTOR, ".answer .cite"))
    wait_for("the source", lambda: all_of(driver, "#source-text mark"), 20)
    marked = "".join(m.text for m in all_of(driver, "#source-text mark"))
    assert "3,000万円" in marked and "500万円" not in marked.replace("3,000万円", ""), marked
    rows = all_of(driver, "#source-text tr")
    assert len(rows) == 5 and rows[2].text.startswith("B"), "the rows of a table stand below each other"
    assert driver.execute_script("return document.getElementById('source-text').textContent").startswith("与信管理規程")
    shot(driver, "source")
    driver.switch_to.active_element.send_keys(Keys.ESCAPE)
    wait_for("Escape closes it", lambda: not by_id(driver, "source").is_displayed(), 10)

    second = ask(driver, "格付Aは？", 2)
    assert "与信" in second.find_element(By.CSS_SELECTOR, ".side").text, "the question before joins the search"
    # What this person may not read: no evidence names it.
    third = ask(driver, "株式会社北斗資材の取得価額の上限はいくらですか。", 3)
    assert "14億" not in third.text and "議事録" not in third.text, third.text
    assert third.get_attribute("data-outcome") == "not_found" and "記載がありません" in third.text, third.text
    shot(driver, "not-found")
    assert listed(driver) == [QUESTION], "one conversation"


def check_feedback(a, driver):
    turn = all_of(driver, ".turn")[0]
    good, bad = turn.find_elements(By.CSS_SELECTOR, ".thumb")
    click(driver, good)
    wait_for("it is pressed", lambda: good.get_attribute("aria-pressed") == "true", 20)
    click(driver, bad)
    wait_for("it asks why", lambda: turn.find_elements(By.CSS_SELECTOR, ".feedback"), 20)
    assert good.get_attribute("aria-pressed") == "false" and bad.get_attribute("aria-pressed") == "true"
    form = turn.find_element(By.CSS_SELECTOR, ".feedback")
    form.find_element(By.CSS_SELECTOR, "input[value=incomplete]").click()
    form.find_element(By.CSS_SELECTOR, "textarea").send_keys("支払条件も知りたい")
    driver.execute_script("arguments[0].scrollIntoView({block: 'center'})", form)
    shot(driver, "feedback")
    form.find_element(By.CSS_SELECTOR, "button.main").click()
    wait_for("it is sent", lambda: not turn.find_elements(By.CSS_SELECTOR, ".feedback"), 20)
    heard = json.loads(a.hisho("feedback", "list", "--json", tenant="tokai"))
    assert len(heard) == 1 and heard[0]["reason"] == "incomplete" and heard[0]["comment"] == "支払条件も知りたい", heard
    assert not heard[0]["shared"] and "question" not in heard[0], heard


def check_history(a, driver, downloads):
    by_id(driver, "fresh").click()
    assert by_id(driver, "welcome").is_displayed() and not all_of(driver, ".turn")
    ask(driver, "就業時間は何時からですか。", 1)
    wait_for("both are listed", lambda: len(listed(driver)) == 2, 20)
    all_of(driver, "#conversations button")[1].click()
    wait_for("the earlier one opens", lambda: len(all_of(driver, ".turn[data-outcome]")) == 3, 20)
    turns = all_of(driver, ".turn")
    assert turns[0].find_element(By.CSS_SELECTOR, ".asked").text == QUESTION and "1,500万円" in turns[0].text
    bad = turns[0].find_element(By.CSS_SELECTOR, ".thumb.bad")
    assert bad.get_attribute("aria-pressed") == "true", "what was said of it is remembered"
    assert turns[2].get_attribute("data-outcome") == "not_found"
    assert by_id(driver, "talk-title").text == QUESTION
    shot(driver, "opened")

    driver.back()
    wait_for("going back shows the other", lambda: by_id(driver, "talk-title").text == "就業時間は何時からですか。", 20)
    driver.forward()
    wait_for("and forth", lambda: by_id(driver, "talk-title").text == QUESTION, 20)
    driver.refresh()
    wait_for("it is opened again by its address", lambda: len(all_of(driver, ".turn[data-outcome]")) == 3, 30)

    by_id(driver, "export").click()
    saved = wait_for("the file", lambda: list(downloads.glob("*.md")), 20)[0]
    text = saved.read_text()
    assert text.startswith("# " + QUESTION) and "1,500万円" in text and "与信管理規程" in text and "`ver_" in text, text
    assert text.count("## 質問") == 3 and "資料には記載がありません" in text, text


def check_long(a, driver):
    """A conversation of more than one page: what was said before is fetched, in order, and saved with the rest."""
    token = a.token("tokai", "tanaka")
    kept = "new"
    for i in range(18):
        kept = a.ask("tokai", "tanaka", f"稟議規程の第{i + 1}条は何を定めていますか。", hisho={"conversation": kept})["hisho"]["conversation"]
    driver.get(a.url + "/#" + kept)
    driver.refresh()
    wait_for("its last page", lambda: len(all_of(driver, ".turn[data-outcome]")) == 16, 30)
    click(driver, by_id(driver, "earlier"))
    wait_for("what was before", lambda: len(all_of(driver, ".turn[data-outcome]")) == 18, 30)
    asked = [e.text for e in all_of(driver, ".asked")]
    assert asked == [f"稟議規程の第{i + 1}条は何を定めていますか。" for i in range(18)] and not by_id(driver, "earlier").is_displayed(), asked
    assert a.request("DELETE", "/v1/conversations/" + kept, token)[0] == 200
    driver.back()


def check_withheld(a, driver):
    cite = all_of(driver, ".answer .cite")[0]
    apply(a, CLOSED)
    click(driver, cite)
    wait_for("its source is refused", lambda: "開けません" in by_id(driver, "source-text").text, 20)
    shot(driver, "denied")
    by_id(driver, "source-close").click()
    driver.refresh()
    wait_for("it opens", lambda: len(all_of(driver, ".turn[data-outcome]")) == 3, 30)
    first = all_of(driver, ".turn")[0]
    assert first.find_elements(By.CSS_SELECTOR, ".withheld") and not first.find_elements(By.CSS_SELECTOR, ".cite"), first.text
    assert "1,500万円" not in driver.page_source and "与信管理規程" not in driver.page_source
    shot(driver, "withheld")
    apply(a, POLICY)
    driver.refresh()
    wait_for("allowed again", lambda: "1,500万円" in by_id(driver, "turns").text, 30)


def check_deleting(driver):
    by_id(driver, "delete").click()
    shot(driver, "delete")
    driver.find_element(By.CSS_SELECTOR, "#sure button[value=no]").click()
    assert len(listed(driver)) == 2 and len(all_of(driver, ".turn")) == 3, "deleted, though it was not wanted"
    gone = driver.current_url
    by_id(driver, "delete").click()
    driver.find_element(By.CSS_SELECTOR, "#sure button[value=yes]").click()
    wait_for("it is off the list", lambda: listed(driver) == ["就業時間は何時からですか。"], 20)
    assert by_id(driver, "welcome").is_displayed()
    driver.get(gone)
    wait_for("its address says so", lambda: "この会話はありません" in by_id(driver, "turns").text, 20)
    shot(driver, "gone")


def check_states(driver):
    by_id(driver, "language").click()
    assert "New conversation" in by_id(driver, "fresh").text
    by_id(driver, "fresh").click()
    shot(driver, "english")
    by_id(driver, "language").click()
    driver.set_network_conditions(offline=True, latency=0, throughput=0)
    by_id(driver, "question").send_keys("休暇は何日ですか。" + Keys.ENTER)
    wait_for("the failure is told", lambda: all_of(driver, ".notice.bad"), 20)
    shot(driver, "offline")
    driver.delete_network_conditions()
    click(driver, [b for b in all_of(driver, ".answer button.plain") if "もう一度" in b.text][0])
    wait_for("asked again", lambda: all_of(driver, ".turn[data-outcome]:not([data-outcome=failed])"), 60)

    driver.delete_all_cookies()
    by_id(driver, "question").send_keys("休憩は何分ですか。" + Keys.ENTER)
    wait_for("the session has ended", lambda: by_id(driver, "sign-in").is_displayed(), 20)
    assert "期限" in by_id(driver, "sign-in-error").text and not all_of(driver, ".turn") and not listed(driver)
    shot(driver, "session-ended")


def check(a, driver, downloads):
    sign_in(a, driver)
    check_asking(a, driver)
    check_feedback(a, driver)
    check_history(a, driver, downloads)
    check_withheld(a, driver)
    check_deleting(driver)
    check_long(a, driver)
    check_states(driver)
    link = sign_in(a, driver)
    ask(driver, QUESTION, 1)
    by_id(driver, "sign-out").click()
    wait_for("the sign-in room", lambda: by_id(driver, "sign-in").is_displayed(), 20)
    left = by_id(driver, "room").get_attribute("textContent") + by_id(driver, "source-text").get_attribute("textContent")
    assert QUESTION not in left and "与信" not in left, "something of the last person stays"
    driver.get(link)
    wait_for("a used link is refused", lambda: by_id(driver, "sign-in-error").text, 20)
    shot(driver, "used-link")
    broken = [e["message"] for e in driver.get_log("browser")
              if "Content Security Policy" in e["message"] or "Uncaught" in e["message"] or "TrustedHTML" in e["message"]]
    assert not broken, broken


def check_phone(a):
    driver = browser(390, 800)
    try:
        dark(driver)
        sign_in(a, driver)
        shot(driver, "phone-welcome")
        ask(driver, "TM-200の最小の注文数はいくつですか。", 1)
        wide = driver.execute_script("return document.documentElement.scrollWidth > document.documentElement.clientWidth")
        assert not wide, "a phone would have to scroll sideways"
        shot(driver, "phone-dark")
        # By the keyboard alone: the list opens, takes the focus, closes, and gives it back.
        by_id(driver, "menu").send_keys(Keys.ENTER)
        wait_for("the list", lambda: by_id(driver, "fresh").is_displayed(), 10)
        assert driver.switch_to.active_element.get_attribute("id") == "fresh"
        still = "return document.getElementById('history').getAnimations().length === 0"
        wait_for("it has slid in", lambda: driver.execute_script(still), 10)
        shot(driver, "phone-list")
        driver.switch_to.active_element.send_keys(Keys.ESCAPE)
        assert driver.switch_to.active_element.get_attribute("id") == "menu"
        wait_for("it has slid out", lambda: driver.execute_script(still), 10)
        dark(driver, False)
        shot(driver, "phone-light")
    finally:
        driver.quit()


def main():
    with Appliance() as a, tempfile.TemporaryDirectory() as downloads:
        a.add_tenant("tokai", POLICY)
        a.ingest("tokai", ROOT / "docs/demo/tokai/documents")
        driver = browser(1360, 880, downloads)
        try:
            check(a, driver, pathlib.Path(downloads))
        except BaseException:
            shot(driver, "failure")
            for entry in driver.get_log("browser"):
                print(entry["message"])
            raise
        finally:
            driver.quit()
        check_phone(a)


main()
