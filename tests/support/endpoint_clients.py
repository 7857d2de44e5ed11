"""Many clients at once, in a process of their own: ``python clients.py URL CLIENTS SECONDS IMAGES PHRASES FOLDER``.

Every client asks about its image, one of IMAGES, with one of PHRASES, waits for the answer, and asks again; one that is
sent away comes back after as many seconds as it was told. What happened is written to standard output as JSON.
"""

from __future__ import annotations

import json
import random
import sys
import threading
import time
from pathlib import Path

import cv2
import urllib3

KNOWN = ("car", "ship", "building", "field", "road", "tree", "dent", "hole", "scratch", "metal tag")


class Clients:
    """What all of them share."""

    def __init__(self, url: str, seconds: float, images: list[bytes], phrases: int) -> None:
        self._url = url
        self._until = time.monotonic() + seconds
        self._images = images
        self._phrases = KNOWN[:phrases]
        self._lock = threading.Lock()
        self.answered: list[float] = []
        self.statuses: dict[str, int] = {}

    def run(self, number: int) -> None:
        """One client."""
        pool = urllib3.HTTPConnectionPool(*self._url.removeprefix("http://").split(":"), maxsize=1, retries=False)
        chance, image = random.Random(number), self._images[number % len(self._images)]
        while time.monotonic() < self._until:
            headers = {"X-Amzn-SageMaker-Custom-Attributes": f"text_prompt={chance.choice(self._phrases)}"}
            started = time.monotonic()
            try:
                response = pool.request("POST", "/invocations", body=image, headers=headers, timeout=60)
                status, wait = str(response.status), int(response.headers.get("Retry-After", "0"))
                if response.status == 200 and response.json()["type"] != "FeatureCollection":
                    status = "no answer"
            except urllib3.exceptions.HTTPError as error:
                status, wait = type(error).__name__, 1
            with self._lock:
                self.statuses[status] = self.statuses.get(status, 0) + 1
                if status == "200":
                    self.answered.append(time.monotonic() - started)
            time.sleep(min(wait * chance.uniform(0.5, 1), max(0.0, self._until - time.monotonic())))
        pool.close()


def main() -> None:
    """Run the clients until the time is over."""
    url, count, seconds, images, phrases, folder = sys.argv[1:]
    files = sorted(Path(folder).glob("*.jpg"))
    made = []
    for i in range(int(images)):  # different pictures of the same kind
        picture = cv2.imread(str(files[i % len(files)]))
        assert picture is not None
        picture[0, 0] = i
        made.append(cv2.imencode(".png", picture)[1].tobytes())
    clients = Clients(url, float(seconds), made, int(phrases))
    threads = [threading.Thread(target=clients.run, args=(number,)) for number in range(int(count))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    sys.stdout.write(json.dumps({"answered": clients.answered, "statuses": clients.statuses}))


if __name__ == "__main__":
    main()
