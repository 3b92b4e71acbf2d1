"""Write the screens of docs/report.md: ``python docs/make_report_screens.py``. Needs Chromium, and minutes.

The report is of a real run: 2,000 SSH servers of a lab, of which some fail, die
and are slow. It is opened in a headless browser, in a light and a dark one.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Final

SCREENS: Final = Path(__file__).parent / "screens"
SCHEMES: Final = {"dark": 0, "light": 1}
"""As Chromium's settings number them (preferred_color_scheme.mojom)."""
SIZE: Final = "1280,1480"

COMMAND: Final = (
    "case $MULTIRSH_LAB_HOST in web0[37][0-4]*) echo 'no space left on /var' >&2; exit 3;;"
    " web*[05]5) sleep 6;; db*44) kill -9 $$;; cache*7) sleep 60;; esac; echo nginx 1.26.3"
)


def main() -> None:
    """Run, open, and take the pictures."""
    browser = shutil.which("chromium-headless-shell") or shutil.which("chromium")
    if browser is None:
        raise SystemExit("there is no Chromium (Debian: chromium-headless-shell)")
    SCREENS.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder) / "report.html"
        run = [sys.executable, "-m", "multirsh", "lab", "--hosts", "2000", "-q", "-u", "8", "--no-journal"]
        subprocess.run(
            [*run, "--report", report, COMMAND],
            check=False,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        for scheme, number in SCHEMES.items():
            subprocess.run(
                [
                    browser,
                    "--headless",
                    "--no-sandbox",  # it is our own page, and Chromium runs as root only without
                    "--disable-gpu",
                    "--hide-scrollbars",
                    f"--user-data-dir={folder}/profile",
                    f"--blink-settings=preferredColorScheme={number}",
                    f"--window-size={SIZE}",
                    f"--screenshot={SCREENS / f'report-{scheme}.png'}",
                    report.as_uri(),
                ],
                check=True,
                stderr=subprocess.DEVNULL,
            )


if __name__ == "__main__":
    main()
