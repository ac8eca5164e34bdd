"""A small French site behind gem_consent, to be read from top to bottom and clicked through.

``gem-consent demo`` serves it on 127.0.0.1. The company, its address and the Google Analytics id are made up:
the id belongs to nobody, so that accepting asks Google for a tag that measures nothing.
"""

from __future__ import annotations

import secrets
import shutil
import socket
import sys
from contextlib import suppress
from pathlib import Path

from jinja2 import DictLoader, Environment
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.templating import Jinja2Templates

from gem_consent import (
    ConfigurationError,
    ConsentExtension,
    ConsentMiddleware,
    Controller,
    GoogleAnalytics,
    OpenStreetMap,
    Policy,
    Service,
    Tracker,
)

__all__ = ["build", "run"]

# 1. The policy: what the site declares. The notice, the preferences page and the trackers table come from it.

POLICY = Policy(
    controller=Controller(name="Exemple", contact="dpo@example.com"),
    privacy_url="/confidentialite",
    language="fr",
    version="2026-11",
    services=[
        GoogleAnalytics("G-XXXXXXXXXX"),
        OpenStreetMap(),
        Service(
            id="session",
            name="Formulaire",
            purpose="necessary",
            provider="Exemple",
            description={"fr": "Fonctionnement du formulaire.", "en": "Makes the form work."},
            trackers=[
                Tracker(
                    "session",
                    None,
                    {"fr": "Protège le formulaire de contact.", "en": "Protects the contact form."},
                )
            ],
        ),
    ],
)

# 2. The pages: plain Jinja templates that know nothing of consent, but for the two places that show it.

PAGES = {
    "page.html": """\
<!doctype html>
<html lang="fr">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{% block title %}{% endblock %} – Exemple</title>
<link rel="icon" href="data:,">
<style>
:root { color-scheme: light dark; }
:root { --ink: light-dark(#1d2a35, #e4e8ea); --line: light-dark(#d3d5ce, #3b4546); }
* { box-sizing: border-box; }
body { margin: 0; color: var(--ink); background: light-dark(#fbfaf7, #14191a); }
body { font: 18px/1.6 Georgia, "Times New Roman", serif; }
header, footer { padding: 20px max(16px, calc(50vw - 480px)); }
header { display: flex; flex-wrap: wrap; gap: 4px 28px; align-items: baseline; background: #123c3a; }
header strong { color: #fff; font-size: 26px; }
nav { display: flex; flex-wrap: wrap; gap: 0 20px; }
nav a { color: #cfe7dc; line-height: 44px; }
main { max-width: 992px; margin: 0 auto; padding: 24px 16px 96px; }
main > * { max-width: 680px; }
h1 { margin: 24px 0 16px; font-size: clamp(30px, 6vw, 46px); line-height: 1.15; font-weight: 400; }
a { color: light-dark(#0d5f57, #8fd6c8); }
label { display: block; margin: 12px 0; }
input[type=text], input[type=email], textarea { display: block; width: 100%; padding: 10px; font: inherit; }
input[type=text], input[type=email], textarea { border: 1px solid light-dark(#6c7a80, #8b989d); }
main button { min-height: 44px; padding: 8px 20px; border: 0; color: #fff; background: #123c3a; }
main button { font: inherit; }
.gem-table { max-width: 100%; overflow-x: auto; }
table { border-collapse: collapse; font-size: 15px; }
th, td { padding: 6px 16px 6px 0; border-bottom: 1px solid var(--line); }
th, td { text-align: left; vertical-align: top; }
footer { border-top: 1px solid var(--line); font-size: 15px; }
</style>
</head>
<body>
<header>
<strong>Exemple</strong>
<nav aria-label="Menu">
<a href="/">Accueil</a> <a href="/services">Services</a> <a href="/contact">Contact</a>
<a href="/confidentialite">Confidentialité</a>
</nav>
</header>
<main>{% block main %}{% endblock %}</main>
<footer>Exemple est une société fictive&nbsp;: ce site montre gem_consent au travail.</footer>
</body>
</html>
""",
    "accueil.html": """\
{% extends "page.html" %}
{% block title %}Accueil{% endblock %}
{% block main %}
<h1>Votre courrier, de la maquette à la boîte aux lettres</h1>
<p>Exemple imprime, met sous pli et affranchit vos envois, du relevé mensuel à la campagne nationale.</p>
<p>Une seule équipe suit votre dossier, et chaque dépôt est daté.</p>
<p><a href="/services">Voir nos services</a></p>
{% endblock %}
""",
    "services.html": """\
{% extends "page.html" %}
{% block title %}Services{% endblock %}
{% block main %}
<h1>Services</h1>
<h2>Impression</h2><p>Noir ou couleur, à partir de vos fichiers ou de vos données.</p>
<h2>Mise sous pli</h2><p>Mécanisée ou à la main, avec contrôle de chaque pli.</p>
<h2>Affranchissement</h2><p>Au meilleur tarif, avec preuve de dépôt.</p>
{% endblock %}
""",
    "contact.html": """\
{% extends "page.html" %}
{% block title %}Contact{% endblock %}
{% block main %}
<h1>Contact</h1>
{% if merci %}<p role="status"><strong>Merci. Cette démonstration n’envoie rien&nbsp;: votre message n’a pas
quitté votre machine.</strong></p>{% endif %}
<form method="post">
<label>Votre nom <input type="text" name="nom" autocomplete="name" required></label>
<label>Votre adresse électronique <input type="email" name="adresse" autocomplete="email" required></label>
<label>Votre message <textarea name="message" rows="5" required></textarea></label>
<label><input type="checkbox" name="accord" required>
J’accepte qu’Exemple utilise ces données pour me répondre.</label>
<button>Envoyer</button>
</form>
<h2>Nous trouver</h2>
{{ consent_embed("openstreetmap", "https://www.openstreetmap.org/#map=16/48.8606/2.3376",
   title="Plan d’accès à nos bureaux", width=680, height=400, lang="fr") }}
{% endblock %}
""",
    "confidentialite.html": """\
{% extends "page.html" %}
{% block title %}Politique de confidentialité{% endblock %}
{% block main %}
<h1>Politique de confidentialité</h1>
<p>Les données de navigation ne sont recueillies qu’avec votre accord, que vous pouvez retirer à tout
moment par «&nbsp;<a href="/privacy-choices?lang=fr&amp;return=/confidentialite">Gérer mes cookies</a>&nbsp;».
Votre choix est conservé 13&nbsp;mois au plus&nbsp;; nous vous le demandons ensuite à nouveau.</p>
<h2>Les traceurs de ce site</h2>
{{ consent_trackers(lang="fr") }}
{% endblock %}
""",
}


def render(name: str, request: Request, **values: object) -> Response:
    """Render a page. The extension adds ``{% consent %}`` and ``consent_trackers()`` to its templates."""
    environment = Environment(loader=DictLoader(PAGES), autoescape=True, extensions=[ConsentExtension])
    return Jinja2Templates(env=environment).TemplateResponse(request, name, values)


async def home(request: Request) -> Response:
    """Show the first page."""
    return render("accueil.html", request)


async def services(request: Request) -> Response:
    """Show what the company does."""
    return render("services.html", request)


async def contact(request: Request) -> Response:
    """Show the contact form, and thank whoever sends it."""
    return render("contact.html", request, merci=request.method == "POST")


async def privacy(request: Request) -> Response:
    """Show the privacy policy, with the table of trackers."""
    return render("confidentialite.html", request)


# 3. The application: the five lines that a site of one's own needs as well.


def build(ledger: str) -> Starlette:
    """Build the demonstration site over a ledger; its secret is random, so a restart asks again."""
    return Starlette(
        routes=[
            Route("/", home),
            Route("/services", services),
            Route("/contact", contact, methods=["GET", "POST"]),
            Route("/confidentialite", privacy),
        ],
        middleware=[
            Middleware(ConsentMiddleware, policy=POLICY, secret_key=secrets.token_urlsafe(48), ledger=ledger)
        ],
    )


def run(host: str, port: int, ledger: str) -> None:
    """Serve the demonstration site until it is interrupted; port 0 takes a free one.

    Raises:
        ConfigurationError: uvicorn, which serves it, is not installed, or the address cannot be listened on.
    """
    try:
        import uvicorn
    except ImportError as error:
        raise ConfigurationError("the demo needs a server: pip install 'gem-consent[demo]'") from error
    config = uvicorn.Config(build(ledger), log_level="warning")
    try:
        listener = socket.create_server((host, port))
    except OSError as error:
        raise ConfigurationError(
            f"cannot listen on {host}:{port} ({error.strerror}); "
            "choose another port: gem-consent demo --port 8080"
        ) from error
    greeting = _greeting(f"http://{host}:{listener.getsockname()[1]}/", ledger)

    class Server(uvicorn.Server):
        async def startup(self, sockets: list[socket.socket] | None = None) -> None:
            await super().startup(sockets)
            # not before Ctrl-C is the server's own to handle
            print(greeting, flush=True)

    with suppress(KeyboardInterrupt):
        Server(config).run(sockets=[listener])


def _greeting(address: str, ledger: str) -> str:
    program = _program()
    return (
        f"gem_consent demo: {address}  (stop with Ctrl-C)\n"
        f"What was clicked: {program} export --ledger {ledger}\n"
        f"In figures:       {program} stats --ledger {ledger}"
    )


def _program() -> str:
    """Give the command as the reader can type it: by its name where that finds it, else by its path."""
    path = Path(sys.argv[0])
    found = shutil.which(path.name)
    return path.name if found and path.exists() and Path(found).samefile(path) else str(path)
