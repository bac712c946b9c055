#!/usr/bin/python3
"""Goal: in a real browser, a person signs in by a link, asks (and the Enter of an input method sends nothing), sees evidence and
a cited answer, opens the source with the passage marked, and signs out. Nothing of the page breaks its content security policy.
A picture of each step is left where HISHO_SHOTS says."""
import os
import pathlib
import shutil
import sys

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


def browser(width, height, dark=False):
    options = webdriver.ChromeOptions()
    for argument in ("--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--lang=ja", f"--window-size={width},{height}",
                     "--ignore-certificate-errors"):
        options.add_argument(argument)
    if dark:
        options.add_argument("--force-dark-mode")
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    return webdriver.Chrome(options=options, service=webdriver.chrome.service.Service(shutil.which("chromedriver")))


def shot(driver, name):
    if SHOTS:
        pathlib.Path(SHOTS).mkdir(parents=True, exist_ok=True)
        driver.save_screenshot(str(pathlib.Path(SHOTS) / f"{name}.png"))


def by_id(driver, name):
    return driver.find_element(By.ID, name)


def check(a, driver):
    link = a.hisho("user", "link", "tanaka", tenant="tokai").strip()
    driver.get(link)
    wait_for("the room opens", lambda: by_id(driver, "room").is_displayed(), 20)
    assert "#" not in driver.current_url, "the code stays in the address"
    assert "tokai" in by_id(driver, "who").text

    box = by_id(driver, "question")
    # The Enter that ends a conversion: the browser says isComposing, and nothing is sent.
    driver.execute_script("""arguments[0].value = 'よしん';
        arguments[0].dispatchEvent(new KeyboardEvent('keydown', {key: 'Enter', isComposing: true, bubbles: true, cancelable: true}));""", box)
    assert not driver.find_elements(By.CSS_SELECTOR, ".turn"), "an unfinished word was sent"
    box.clear()
    box.send_keys(QUESTION)
    box.send_keys(Keys.ENTER)
    wait_for("an answer", lambda: driver.find_elements(By.CSS_SELECTOR, ".turn[data-outcome]"), 300)
    turn = driver.find_element(By.CSS_SELECTOR, ".turn")
    assert turn.find_elements(By.CSS_SELECTOR, ".evidence button"), "no evidence is shown"
    assert "与信管理規程" in turn.find_element(By.CSS_SELECTOR, ".evidence").text
    shot(driver, "answer")

    cites = turn.find_elements(By.CSS_SELECTOR, ".answer .cite")
    (cites or turn.find_elements(By.CSS_SELECTOR, ".evidence button"))[0].click()
    wait_for("the source", lambda: driver.find_elements(By.CSS_SELECTOR, "#source-text mark"), 20)
    assert driver.find_element(By.CSS_SELECTOR, "#source-text mark").text.strip()
    shot(driver, "source")
    by_id(driver, "source-close").click()

    # What this person may not read: no evidence names it.
    box.send_keys("株式会社北斗資材の取得価額の上限はいくらですか。" + Keys.ENTER)
    wait_for("the second answer", lambda: len(driver.find_elements(By.CSS_SELECTOR, ".turn[data-outcome]")) == 2, 300)
    second = driver.find_elements(By.CSS_SELECTOR, ".turn")[1].text
    assert "14億" not in second and "議事録" not in second, second
    shot(driver, "refused")

    by_id(driver, "sign-out").click()
    wait_for("the sign-in room", lambda: by_id(driver, "sign-in").is_displayed(), 20)
    assert not driver.find_elements(By.CSS_SELECTOR, ".turn"), "the last person's questions stay on the screen"
    driver.get(link)
    wait_for("a used link is refused", lambda: by_id(driver, "sign-in-error").text, 20)
    shot(driver, "used-link")
    broken = [e["message"] for e in driver.get_log("browser") if "Content Security Policy" in e["message"] or "Uncaught" in e["message"]]
    assert not broken, broken


def check_phone(a):
    driver = browser(390, 800, dark=True)
    try:
        driver.get(a.hisho("user", "link", "tanaka", tenant="tokai").strip())
        wait_for("the room opens", lambda: by_id(driver, "room").is_displayed(), 20)
        by_id(driver, "question").send_keys("TM-200の最小の注文数はいくつですか。" + Keys.ENTER)
        wait_for("an answer", lambda: driver.find_elements(By.CSS_SELECTOR, ".turn[data-outcome]"), 300)
        wide = driver.execute_script("return document.documentElement.scrollWidth > document.documentElement.clientWidth")
        assert not wide, "a phone would have to scroll sideways"
        shot(driver, "phone-dark")
    finally:
        driver.quit()


def main():
    with Appliance() as a:
        a.add_tenant("tokai", (ROOT / "docs/demo/tokai/policy.yaml").read_text())
        a.ingest("tokai", ROOT / "docs/demo/tokai/documents")
        driver = browser(1200, 900)
        try:
            check(a, driver)
        except BaseException:
            shot(driver, "failure")
            for entry in driver.get_log("browser"):
                print(entry["message"])
            raise
        finally:
            driver.quit()
        check_phone(a)


main()
