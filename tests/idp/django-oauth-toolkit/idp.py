"""A real OAuth 2.0 server for the tests: Django OAuth Toolkit with Dynamic Client Registration.

    python idp.py STATE

It speaks to a test as ../oidc-provider does: a free port of the loopback interface; the first line
on stdout is JSON, where it is and where a test controls it; it ends when its stdin does. STATE is a
folder for its keys and its database. Two processes: the one that is started pulls the levers, and
the provider itself runs below it, so that stopping and rotating are what they are in real life.
"""

import json
import os
import secrets
import subprocess
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from urllib.parse import parse_qsl, urlsplit

HOST = "127.0.0.1"
# The resource that a token request names decides the kind of token (RFC 8707).
JWT_AUDIENCE = "https://api.test/jwt"
STATE = Path(sys.argv[1])


class Levers:
    """What a test can do to the provider, a POST each; the query becomes keyword arguments."""

    def __init__(self):
        self.port = 0
        self.child = None
        self.settings = {"seconds": "300", "initial": secrets.token_urlsafe(32)}
        self.start()

    def start(self, **changes):
        """`seconds`: life of tokens. `initial`: the initial access token, empty for none needed."""
        self.settings |= changes
        self.child = subprocess.Popen(
            [sys.executable, __file__, str(STATE), str(self.port), json.dumps(self.settings)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        self.port = json.loads(self.child.stdout.readline())
        return {}

    def stop(self):
        self.child.kill()
        self.child.wait()
        return {}

    def rotate(self, drop=None):
        """A new key that signs. The last one stays published, unless `drop` is given."""
        self.stop()
        if drop is None:
            (STATE / "key.pem").rename(STATE / "old.pem")
        else:
            (STATE / "key.pem").unlink()
        return self.start()

    def initial_access_token(self):
        return {"token": self.settings["initial"]}

    def hits(self):
        """How often each path was asked for."""
        paths = (STATE / "hits").read_text().split()
        return {path: paths.count(path) for path in paths}


class Control(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    levers = None

    def do_POST(self):
        url = urlsplit(self.path)
        lever = getattr(self.levers, url.path.strip("/").replace("-", "_"))
        body = json.dumps(lever(**dict(parse_qsl(url.query, keep_blank_values=True)))).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


def end_with_stdin():
    """Ends this process when the one above it is gone."""

    def wait():
        while sys.stdin.buffer.read1():
            pass
        os._exit(0)

    threading.Thread(target=wait, daemon=True).start()


def control():
    end_with_stdin()
    Control.levers = Levers()
    server = HTTPServer((HOST, 0), Control)
    print(json.dumps({
        "issuer": f"http://{HOST}:{Control.levers.port}/o",
        "control": f"http://{HOST}:{server.server_port}",
    }), flush=True)
    server.serve_forever()


def key(name):
    """A private key of the state folder as a list of one PEM text; of none if it is not there."""
    from jwcrypto import jwk

    path = STATE / name
    if name == "key.pem" and not path.exists():
        made = jwk.JWK.generate(kty="RSA", size=2048)
        path.write_bytes(made.export_to_pem(private_key=True, password=None))
    return [path.read_text()] if path.exists() else []


def token(request, refresh_token=False):
    """A JWT (RFC 9068) for its audience, an opaque token for any other. The server keeps account of
    both, so that both can be introspected and revoked."""
    from django.conf import settings
    from jwcrypto import jwk, jwt

    if getattr(request, "resource", None) != JWT_AUDIENCE:
        return secrets.token_urlsafe(30)
    options = settings.OAUTH2_PROVIDER
    signer = jwk.JWK.from_pem(options["OIDC_RSA_PRIVATE_KEY"].encode())
    now = int(time.time())
    made = jwt.JWT(
        header={"alg": "RS256", "typ": "at+jwt", "kid": signer.thumbprint()},
        claims={
            "iss": options["OIDC_ISS_ENDPOINT"],
            "sub": request.client.client_id,
            "client_id": request.client.client_id,
            "aud": JWT_AUDIENCE,
            "iat": now,
            "exp": now + options["ACCESS_TOKEN_EXPIRE_SECONDS"],
            "jti": secrets.token_hex(16),
            "scope": " ".join(request.scopes),
        },
    )
    made.make_signed_token(signer)
    return made.serialize()


class HoldsInitialAccessToken:
    """Who may register (RFC 7591 section 3)."""

    def has_permission(self, request):
        from django.conf import settings

        initial = settings.INITIAL_ACCESS_TOKEN
        return not initial or request.headers.get("Authorization") == f"Bearer {initial}"


def provide(port, seconds, initial):
    """Serves on `port`, or on a free one where that is 0."""
    from django.conf import settings
    from django.core.servers.basehttp import ThreadedWSGIServer, WSGIRequestHandler

    server = ThreadedWSGIServer((HOST, port), WSGIRequestHandler)
    port = server.server_port
    # Found by its name from here on, by Django too.
    sys.modules["idp"] = sys.modules["__main__"]
    applications = ["auth", "contenttypes", "sessions"]
    settings.configure(
        SECRET_KEY=secrets.token_hex(),
        # Faults go to stderr, not by mail.
        LOGGING_CONFIG=None,
        ALLOWED_HOSTS=[HOST],
        USE_TZ=True,
        ROOT_URLCONF="idp",
        INSTALLED_APPS=[f"django.contrib.{name}" for name in applications] + ["oauth2_provider"],
        MIDDLEWARE=[
            "django.contrib.sessions.middleware.SessionMiddleware",
            "django.contrib.auth.middleware.AuthenticationMiddleware",
        ],
        # Tables are made as they are now: the way there takes seconds.
        MIGRATION_MODULES=dict.fromkeys([*applications, "oauth2_provider"]),
        DATABASES={"default": {
            "ENGINE": "django.db.backends.sqlite3",
            "NAME": STATE / "db.sqlite3",
            "OPTIONS": {"timeout": 20, "transaction_mode": "IMMEDIATE"},
        }},
        # Slow on purpose otherwise, half a second for each secret.
        PASSWORD_HASHERS=["django.contrib.auth.hashers.MD5PasswordHasher"],
        INITIAL_ACCESS_TOKEN=initial,
        OAUTH2_PROVIDER={
            "ACCESS_TOKEN_EXPIRE_SECONDS": int(seconds),
            "ACCESS_TOKEN_GENERATOR": "idp.token",
            "DCR_ENABLED": True,
            "DCR_REGISTRATION_PERMISSION_CLASSES": ["idp.HoldsInitialAccessToken"],
            "DEFAULT_SCOPES": ["read"],
            "OIDC_ENABLED": True,
            "OIDC_ISS_ENDPOINT": f"http://{HOST}:{port}/o",
            "OIDC_RSA_PRIVATE_KEY": key("key.pem")[0],
            "OIDC_RSA_PRIVATE_KEYS_INACTIVE": key("old.pem"),
            "SCOPES": {name: name for name in ["read", "write", "introspection"]},
        },
    )

    import django
    from django.core.management import call_command
    from django.core.wsgi import get_wsgi_application

    django.setup()
    call_command("migrate", run_syncdb=True, verbosity=0)
    application = get_wsgi_application()

    def counted(environment, start_response):
        with open(STATE / "hits", "a") as hits:
            print(environment["PATH_INFO"], file=hits)
        return application(environment, start_response)

    server.set_app(counted)
    end_with_stdin()
    print(port, flush=True)
    server.serve_forever()


def __getattr__(name):
    """Routes, which can be made only once Django is set up."""
    if name != "urlpatterns":
        raise AttributeError(name)
    from django.urls import include, path
    from oauth2_provider.urls import metadata_urlpatterns

    return [
        path("o/", include("oauth2_provider.urls", namespace="oauth2_provider")),
        # RFC 8414 section 3.1: the well-known path comes first, the issuer's own after it.
        path("", include((metadata_urlpatterns, "metadata"))),
    ]


if __name__ == "__main__":
    if len(sys.argv) == 2:
        control()
    else:
        provide(int(sys.argv[2]), **json.loads(sys.argv[3]))
