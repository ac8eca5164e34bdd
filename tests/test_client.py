"""Clients: signals as the specifications say, bots without mistaking people, coarse records."""

from __future__ import annotations

import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gem_consent.client import Client, coarse, has_gpc, is_bot, is_crawler, is_prefetch, network_prefix

WEBKIT = "AppleWebKit/537.36 (KHTML, like Gecko)"
IPHONE = "Mozilla/5.0 (iPhone; CPU iPhone OS 18_1 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko)"
IPAD = "Mozilla/5.0 (iPad; CPU OS 17_6 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko)"
WINDOWS = f"Mozilla/5.0 (Windows NT 10.0; Win64; x64) {WEBKIT}"
ANDROID = "Mozilla/5.0 (Linux; Android"
PIXEL = f"{ANDROID} 14; Pixel 8) {WEBKIT}"

BROWSERS = [
    f"{WINDOWS} Chrome/131.0.0.0 Safari/537.36",
    f"{WINDOWS} Chrome/131.0.0.0 Safari/537.36 Edg/131.0.0.0",
    f"{WINDOWS} Chrome/131.0.0.0 Safari/537.36 OPR/116.0.0.0",
    f"{WINDOWS} Chrome/130.0.0.0 Safari/537.36 Vivaldi/7.0.3495.11",
    f"{WINDOWS} Chrome/128.0.0.0 YaBrowser/24.10.0.0 Safari/537.36",
    f"{WINDOWS} HeadlessChrome/131.0.0.0 Safari/537.36",
    f"{WINDOWS} Chrome/120.0.0.0 Electron/28.0.0 Slack_SSB/4.36.140 Safari/537.36",
    "Mozilla/5.0 (Windows NT 10.0; Win64; x64; rv:145.0) Gecko/20100101 Firefox/145.0",
    "Mozilla/5.0 (Windows NT 10.0; rv:128.0) Gecko/20100101 Firefox/128.0",
    "Mozilla/5.0 (Windows NT 6.1; WOW64; Trident/7.0; rv:11.0) like Gecko",
    "Mozilla/4.0 (compatible; MSIE 8.0; Windows NT 6.1; Trident/4.0; .NET CLR 2.0.50727)",
    "Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/18.1 "
    "Safari/605.1.15",
    "Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/17.4 "
    "Safari/605.1.15 Ddg/17.4",
    "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0",
    f"Mozilla/5.0 (X11; CrOS x86_64 14541.0.0) {WEBKIT} Chrome/131.0.0.0 Safari/537.36",
    f"Mozilla/5.0 (X11; Linux x86_64) {WEBKIT} Ubuntu Chromium/131.0.0.0 Chrome/131.0.0.0 Safari/537.36",
    "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/17.0 Safari/605.1.15 "
    "Epiphany/605.1.15",
    "Mozilla/5.0 (compatible; Konqueror/4.5; FreeBSD) KHTML/4.5.4 (like Gecko)",
    f"{PIXEL} Chrome/131.0.0.0 Mobile Safari/537.36",
    f"{PIXEL} Chrome/131.0.0.0 Mobile Safari/537.36 EdgA/130.0.0.0",
    f"{PIXEL} Version/4.0 Chrome/130.0.0.0 Mobile DuckDuckGo/5 Safari/537.36",
    f"{PIXEL} Version/4.0 Chrome/131.0.0.0 Mobile Safari/537.36 GSA/15.45",
    "Mozilla/5.0 (Android 14; Mobile; rv:133.0) Gecko/133.0 Firefox/133.0",
    f"{ANDROID} 14; SAMSUNG SM-S918B) {WEBKIT} SamsungBrowser/27.0 Chrome/125.0.0.0 Mobile Safari/537.36",
    f"{ANDROID} 13; SM-X700) {WEBKIT} Chrome/131.0.0.0 Safari/537.36",
    f"{ANDROID} 9; CUBOT_X19 Build/PPR1) {WEBKIT} Chrome/90.0.4430.91 Mobile Safari/537.36",
    f"{ANDROID} 11; CUBOT KINGKONG 5 Pro) {WEBKIT} Chrome/99.0.4844.88 Mobile Safari/537.36",
    f"{ANDROID} 7.0; Cubot) {WEBKIT} Chrome/64.0.3282.137 Mobile Safari/537.36",
    f"Mozilla/5.0 (Linux; U; Android 12; en-US; RMX3085) {WEBKIT} Version/4.0 Chrome/100.0.4896.58 "
    "UCBrowser/13.4.0.1306 Mobile Safari/537.36",
    f"{ANDROID} 13; SM-A536B; wv) {WEBKIT} Version/4.0 Chrome/131.0.0.0 Mobile Safari/537.36 "
    "[FB_IAB/FB4A;FBAV/490.0.0.63.82;]",
    f"{ANDROID} 13; SM-A536B; wv) {WEBKIT} Version/4.0 Chrome/131.0.0.0 Mobile Safari/537.36 "
    "Instagram 357.1.0.52.100 Android (33/13; 450dpi; 1080x2177; samsung; SM-A536B; a53x; s5e8825; fr_FR)",
    f"{ANDROID} 12; SOG02; wv) {WEBKIT} Version/4.0 Chrome/110.0.0.0 Mobile Safari/537.36 Line/14.1.0/IAB",
    f"{ANDROID} 10; MI 9; wv) {WEBKIT} Version/4.0 Chrome/86.0.4240.99 Mobile Safari/537.36 "
    "MicroMessenger/8.0.16",
    f"{ANDROID} 12; M2101; wv) {WEBKIT} Version/4.0 Chrome/99.0.0.0 Mobile Safari/537.36 "
    "musical_ly_2022803040 BytedanceWebview/d8a21c6",
    f"{IPHONE} Version/18.1 Mobile/15E148 Safari/604.1",
    f"{IPHONE} CriOS/131.0.6778.73 Mobile/15E148 Safari/604.1",
    f"{IPHONE} FxiOS/133.0 Mobile/15E148 Safari/605.1.15",
    f"{IPHONE} Mobile/15E148 [FBAN/FBIOS;FBAV/490.0.0.42.107;FBDV/iPhone15,2;FBSN/iOS;FBSV/18.1]",
    f"{IPHONE} Mobile/15E148 [LinkedInApp]/9.30",
    f"{IPHONE} Mobile/15E148 [Pinterest/iOS]",
    f"{IPHONE} Mobile/15E148 Twitter for iPhone/10.70",
    f"{IPHONE} Mobile/22B83 Snapchat/13.10.0.41 (like Safari/8620.1.16, panda)",
    f"{IPAD} Version/17.6 Mobile/15E148 Safari/604.1",
    f"Mozilla/5.0 (SMART-TV; LINUX; Tizen 7.0) {WEBKIT} 94.0.4606.31/7.0 TV Safari/537.36",
    f"Mozilla/5.0 (Web0S; Linux/SmartTV) {WEBKIT} Chrome/94.0.4606.128 Safari/537.36 WebAppManager",
    f"{ANDROID} 9; AFTKA) {WEBKIT} Silk/110.4.1 like Chrome/110.0.5481.154 Safari/537.36",
    "Mozilla/5.0 (PlayStation; PlayStation 5/2.26) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/13.0 "
    "Safari/605.1.15",
    f"Mozilla/5.0 (Windows NT 10.0; Win64; x64; Xbox; Xbox One) {WEBKIT} Chrome/120.0.0.0 Safari/537.36 "
    "Edge/44.18363.8131",
    "Mozilla/5.0 (Nintendo Switch; WebApplet) AppleWebKit/613.0 (KHTML, like Gecko) NF/6.0.3.25.0 "
    "NintendoBrowser/5.1.0.32061",
    "Mozilla/5.0 (Mobile; Nokia_8110_4G; rv:48.0) Gecko/48.0 Firefox/48.0 KAIOS/2.5",
    "Opera/9.80 (J2ME/MIDP; Opera Mini/7.1.32052/29.3709; U; en) Presto/2.8.119 Version/11.10",
    "Nokia6303classic/5.0 (05.60) Profile/MIDP-2.1 Configuration/CLDC-1.1 Mozilla/5.0 Java",
    "Lynx/2.9.2 libwww-FM/2.14",
    "w3m/0.5.3+git20230121",
    "Amazon CloudFront",
    "My Own Browser 1.0",
]

CRAWLERS = [
    "Mozilla/5.0 (compatible; Googlebot/2.1; +http://www.google.com/bot.html)",
    f"{ANDROID} 6.0.1; Nexus 5X) {WEBKIT} Chrome/131.0.0.0 Mobile Safari/537.36 (compatible; "
    "Googlebot/2.1; +http://www.google.com/bot.html)",
    f"{PIXEL} Chrome/131.0.0.0 Mobile Safari/537.36 (compatible; GoogleOther)",
    "Mozilla/5.0 (compatible; Google-InspectionTool/1.0)",
    "APIs-Google (+https://developers.google.com/webmasters/APIs-Google.html)",
    "Mediapartners-Google",
    "Mozilla/5.0 AppleWebKit/537.36 (KHTML, like Gecko; compatible; bingbot/2.0; "
    "+http://www.bing.com/bingbot.htm) Chrome/116.0 Safari/537.36",
    f"Mozilla/5.0 (Windows NT 6.1; WOW64) {WEBKIT} Chrome/27.0 Safari/537.36 BingPreview/1.0b",
    f"Mozilla/5.0 {WEBKIT}; compatible; ChatGPT-User/1.0",
    f"Mozilla/5.0 {WEBKIT}; compatible; GPTBot/1.1; +https://openai.com/gptbot)",
    f"Mozilla/5.0 {WEBKIT}; compatible; ClaudeBot/1.0; +claudebot@anthropic.com)",
    f"Mozilla/5.0 {WEBKIT}; compatible; Claude-User/1.0)",
    f"Mozilla/5.0 {WEBKIT}; compatible; PerplexityBot/1.0)",
    f"Mozilla/5.0 {WEBKIT}; compatible; Perplexity-User/1.0)",
    "meta-externalagent/1.1",
    f"{ANDROID} 11; moto g power (2022)) {WEBKIT} Chrome/131.0.0.0 Mobile Safari/537.36 Chrome-Lighthouse",
    "Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_5) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/13.1.1 "
    "Safari/605.1.15 (Applebot/0.1)",
    "facebookexternalhit/1.1 (+http://www.facebook.com/externalhit_uatext.php)",
    "Twitterbot/1.0",
    "LinkedInBot/1.0 (compatible; Mozilla/5.0; Apache-HttpClient +http://www.linkedin.com)",
    "WhatsApp/2.23.20.0 A",
    "Slackbot-LinkExpanding 1.0 (+https://api.slack.com/robots)",
    "Slack-ImgProxy (+https://api.slack.com/robots)",
    "TelegramBot (like TwitterBot)",
    "Mozilla/5.0 (compatible; Discordbot/2.0; +https://discordapp.com)",
    "Mozilla/5.0 (compatible; YandexBot/3.0; +http://yandex.com/bots)",
    "Mozilla/5.0 (compatible; Baiduspider/2.0; +http://www.baidu.com/search/spider.html)",
    "DuckDuckBot/1.1; (+http://duckduckgo.com/duckduckbot.html)",
    "Mozilla/5.0 (compatible; AhrefsBot/7.0; +http://ahrefs.com/robot/)",
    "Mozilla/5.0 (compatible; SemrushBot/7~bl; +http://www.semrush.com/bot.html)",
    "Mozilla/5.0 (compatible; MJ12bot/v1.4.8; http://mj12bot.com/)",
    "Mozilla/5.0 (compatible; DotBot/1.2)",
    "Mozilla/5.0 (compatible;PetalBot;+https://webmaster.petalsearch.com/site/petalbot)",
    f"{ANDROID} 5.0) AppleWebKit/537.36 (compatible; Bytespider; spider-feedback@example.com)",
    "CCBot/2.0 (https://commoncrawl.org/faq/)",
    "Mozilla/5.0 (compatible; Amazonbot/0.1)",
    "ia_archiver",
    "Mozilla/5.0 (compatible; archive.org_bot)",
    "Mozilla/5.0+(compatible; UptimeRobot/2.0; http://www.uptimerobot.com/)",
    "Pingdom.com_bot_version_1.4_(http://www.pingdom.com/)",
    f"{WINDOWS} Chrome/98.0.4758.102 Safari/537.36 StatusCake",
    "Mozilla/5.0 (compatible; Yahoo! Slurp; http://help.yahoo.com/help/us/ysearch/slurp)",
    "Scrapy/2.11.0 (+https://scrapy.org)",
    "ELB-HealthChecker/2.0",
    "kube-probe/1.29",
    "Mozilla/5.0 (compatible; OAI-SearchBot/1.0; +https://openai.com/searchbot)",
    "Mozilla/5.0 (compatible; MistralAI-User/1.0; +https://docs.mistral.ai/robots)",
    "DuckAssistBot/1.2; (+http://duckduckgo.com/duckassistbot.html)",
    "AdsBot-Google (+http://www.google.com/adsbot.html)",
    "FeedFetcher-Google; (+http://www.google.com/feedfetcher.html)",
    "Mozilla/5.0 (compatible; SeznamBot/4.0; +https://o-seznam.cz/napoveda/vyhledavani/en/seznambot-crawler/)",
    "Mozilla/5.0 (compatible; Qwantify/1.0; +https://www.qwant.com/)",
    "Mozilla/5.0 (compatible; Yeti/1.1; +https://naver.me/spd)",
    "Mozilla/5.0 (compatible; Pinterestbot/1.0; +https://www.pinterest.com/bot.html)",
    "facebookcatalog/1.0",
    "Mozilla/5.0 (compatible; SkypeUriPreview Preview/0.5)",
    "Screaming Frog SEO Spider/20.0",
    "Mozilla/5.0 (compatible; Barkrowler/0.9; +https://babbar.tech/crawler)",
    "Mozilla/5.0 (compatible; DataForSeoBot/1.0; +https://dataforseo.com/dataforseo-bot)",
    "Mozilla/5.0 (compatible; heritrix/3.4.0 +https://example.org)",
    "Mozilla/5.0 (compatible; NetcraftSurveyAgent/1.0; +info@netcraft.com)",
    "Mozilla/5.0 (compatible; Better Uptime Bot; +https://betteruptime.com)",
    "GoogleHC/1.0",
]

# asked like everybody, since somebody looks at what they fetch; recorded as bots
TOOLS = [
    "",
    "  ",
    "curl/8.5.0",
    "Wget/1.21.4",
    "python-requests/2.32.3",
    "python-httpx/0.27.0",
    "Python/3.12 aiohttp/3.9.1",
    "Python-urllib/3.12",
    "Go-http-client/2.0",
    "Java/17.0.1",
    "Java-http-client/21",
    "okhttp/4.12.0",
    "Apache-HttpClient/4.5.13 (Java/11.0.16)",
    "libwww-perl/6.67",
    "node",
    "axios/1.7.2",
    "W3C_Validator/1.3",
]

BOTS = CRAWLERS + TOOLS


@pytest.mark.parametrize("user_agent", BROWSERS)
def test_browser_is_no_bot(user_agent: str) -> None:
    """No browser that a person may use is taken for a bot."""
    assert not is_bot(user_agent)
    assert not is_crawler(user_agent.encode())


def test_lists_are_long_enough() -> None:
    """Both lists name forty at least, and none twice."""
    assert len(set(BROWSERS)) == len(BROWSERS) >= 40
    assert len(set(CRAWLERS)) == len(CRAWLERS) >= 40


@pytest.mark.parametrize("user_agent", CRAWLERS)
def test_crawler_is_found(user_agent: str) -> None:
    """Search engines, assistants, previews, archives and monitors are found."""
    assert is_crawler(user_agent.encode())


@pytest.mark.parametrize("user_agent", TOOLS)
def test_tool_is_no_crawler(user_agent: str) -> None:
    """A program in somebody's hands gets what that somebody would see."""
    assert not is_crawler(user_agent.encode())


@pytest.mark.parametrize("user_agent", BOTS)
def test_bot_is_found(user_agent: str) -> None:
    """Crawlers, previews, monitors, HTTP libraries and the nameless are found."""
    assert is_bot(user_agent)


@pytest.mark.parametrize("user_agent", [agent for agent in BOTS if agent.strip()])
def test_bot_is_recorded_as_such(user_agent: str) -> None:
    """The coarse record and the question agree."""
    assert coarse(user_agent).device == "bot"


@pytest.mark.parametrize("user_agent", BROWSERS)
def test_browser_is_recorded_as_device(user_agent: str) -> None:
    """No browser is recorded as a bot."""
    assert coarse(user_agent).device != "bot"


@pytest.mark.parametrize(
    ("user_agent", "client"),
    [
        (BROWSERS[7], Client("Firefox 145", "Windows 10", "desktop")),
        (
            f"{PIXEL} Chrome/131.0.0.0 Mobile Safari/537.36",
            Client("Chrome Mobile 131", "Android 14", "mobile"),
        ),
        (f"{IPHONE} Version/18.1 Mobile/15E148 Safari/604.1", Client("Mobile Safari 18", "iOS 18", "mobile")),
        (f"{IPAD} Version/17.6 Mobile/15E148 Safari/604.1", Client("Mobile Safari 17", "iOS 17", "tablet")),
        ("", Client("Other", "Other", "other")),
        ("garbage", Client("Other", "Other", "other")),
        ("x" * 1_000_000, Client("Other", "Other", "other")),
    ],
)
def test_record_is_coarse(user_agent: str, client: Client) -> None:
    """Family and major version, nothing finer; what cannot be read is Other."""
    assert coarse(user_agent) == client


@given(st.text(max_size=80) | st.sampled_from(BROWSERS + BOTS).map(lambda agent: agent.replace("/", '/=<"')))
def test_record_is_harmless(user_agent: str) -> None:
    """Any string gives a short record without markup, quotes or the start of a spreadsheet formula."""
    client = coarse(user_agent)
    for text in (client.browser, client.system):
        assert 1 <= len(text) <= 47
        assert text[0].isalnum()
        assert not set(text) & set("<>\"'=,;\r\n\t|`")


def test_parser_is_imported_late() -> None:
    """Importing the module, and asking about bots, does not pay for the parser."""
    code = "import sys, gem_consent.client as c; c.is_bot('x'); sys.exit('user_agents' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


@pytest.mark.rule("G1")
@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ([b"1"], True),
        ([b"0", b"1"], True),
        ([b"0"], False),
        ([b"1, 1"], False),
        ([b"true"], False),
        ([b"1;x"], False),
        ([b""], False),
        ([], False),
    ],
)
def test_gpc_is_exactly_one(values: list[bytes], expected: bool) -> None:
    """One header that is exactly 1 counts, whatever others say; anything else is no signal."""
    assert has_gpc([(b"Sec-GPC", value) for value in values]) is expected


@pytest.mark.parametrize(
    ("name", "value", "expected"),
    [
        (b"Sec-Purpose", b"prefetch", True),
        (b"sec-purpose", b"prefetch;prerender", True),
        (b"Sec-Purpose", b"prefetch;anonymous-client-ip", True),
        (b"Purpose", b"Prefetch", True),
        (b"X-Moz", b"prefetch", True),
        (b"Purpose", b"preview", False),
        (b"Sec-Purpose", b"prefetching", False),
        (b"Accept", b"prefetch", False),
    ],
)
def test_prefetch_is_recognised(name: bytes, value: bytes, expected: bool) -> None:
    """All three headers are read, their parameters are not."""
    assert is_prefetch([(name, value)]) is expected


@pytest.mark.parametrize(
    ("address", "network"),
    [
        ("192.0.2.77", "192.0.2.0/24"),
        ("2001:db8:1:2::3", "2001:db8:1::/48"),
        ("::ffff:192.0.2.77", "192.0.2.0/24"),
        ("fe80::1%eth0", "fe80::/48"),
        ("192.0.2.77:80", None),
        ("[::1]", None),
        ("testclient", None),
        ("", None),
        (None, None),
    ],
)
def test_address_shrinks_to_its_network(address: str | None, network: str | None) -> None:
    """The host part is gone; what is no address gives nothing."""
    assert network_prefix(address) == network
