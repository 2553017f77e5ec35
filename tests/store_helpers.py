"""An S3 server on loopback that can answer 503 SlowDown."""

import os
import random
import threading
from contextlib import contextmanager

import s3fs
from moto.moto_server.werkzeug_app import create_backend_app
from werkzeug.serving import WSGIRequestHandler, make_server

BUCKET = "survey"
_SLOW_DOWN = (
    b'<?xml version="1.0" encoding="UTF-8"?><Error><Code>SlowDown</Code>'
    b"<Message>Please reduce your request rate.</Message></Error>"
)


class _Quiet(WSGIRequestHandler):
    def log(self, *_):
        pass


class Store:
    """The server's application: moto's, with injected failures."""

    def __init__(self, seed=0):
        self.share = 0.0
        self.refused = 0
        self.requests = []
        self.after_put = None
        self._draw = random.Random(seed)
        self._moto = create_backend_app("s3")
        self._lock = threading.Lock()

    def __call__(self, environ, start):
        with self._lock:
            refuse = self._draw.random() < self.share
            self.refused += refuse
            if not refuse:
                self.requests.append((environ["REQUEST_METHOD"], environ["PATH_INFO"]))
        if refuse:
            environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0))
            head = [("Content-Type", "application/xml"), ("Content-Length", str(len(_SLOW_DOWN)))]
            start("503 Slow Down", head)
            return [_SLOW_DOWN]
        with self._lock:
            answer = list(self._moto(environ, start))
        if self.after_put and environ["REQUEST_METHOD"] == "PUT":
            self.after_put(environ["PATH_INFO"])
        return answer

    @contextmanager
    def failing(self, share):
        """Answer a share of the requests with 503."""
        self.share = share
        try:
            yield
        finally:
            self.share = 0.0


@contextmanager
def running_store(cache):
    """Yield a store behind s3:// with an empty bucket; `cache` becomes the user's cache."""
    store = Store()
    server = make_server("127.0.0.1", 0, store, threaded=True, request_handler=_Quiet)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    settings = {
        "AWS_ENDPOINT_URL": f"http://127.0.0.1:{server.server_port}",
        "AWS_ACCESS_KEY_ID": "any",
        "AWS_SECRET_ACCESS_KEY": "any",
        "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_RETRY_MODE": "standard",
        "AWS_MAX_ATTEMPTS": "6",
        "XDG_CACHE_HOME": str(cache),
    }
    before = {name: os.environ.get(name) for name in settings}
    os.environ.update(settings)
    s3fs.S3FileSystem.clear_instance_cache()
    try:
        files().mkdir(BUCKET)
        yield store
    finally:
        s3fs.S3FileSystem.clear_instance_cache()
        server.shutdown()
        server.server_close()
        for name, value in before.items():
            os.environ.pop(name) if value is None else os.environ.update({name: value})


def files():
    """Return a client of the store."""
    return s3fs.S3FileSystem(use_listings_cache=False)
