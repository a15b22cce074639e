"""The last reports of the Scan tab, served under names that cannot be guessed."""

import secrets
import threading
from collections import OrderedDict
from typing import TYPE_CHECKING

from fastapi import FastAPI
from starlette.responses import Response

if TYPE_CHECKING:
    from codebyte.tasks.scan_results import ScanResult

MOST_REPORTS = 8  # kept, the oldest goes first
_TYPES = {
    "html": "text/html; charset=utf-8",
    "sarif": "application/sarif+json",
    "jsonl": "application/jsonl",
}


class Reports:
    """The last reports, by a name that cannot be guessed."""

    def __init__(self) -> None:
        self._kept: OrderedDict[str, dict[str, str]] = OrderedDict()
        self._lock = threading.Lock()

    def keep(self, result: "ScanResult") -> str:
        """Writes the reports of a scan; gives their name."""
        from codebyte.apps.report_html import html_report
        from codebyte.apps.report_json import json_report
        from codebyte.apps.report_sarif import sarif_report

        written = {
            "html": html_report(result),
            "sarif": sarif_report(result),
            "jsonl": json_report(result),
        }
        name = secrets.token_urlsafe(12)
        with self._lock:
            self._kept[name] = written
            while len(self._kept) > MOST_REPORTS:
                self._kept.popitem(last=False)
        return name

    def mount(self, app: FastAPI) -> None:
        """Serves the reports."""

        @app.get("/cb-report/{name}.{kind}", include_in_schema=False)
        def report(name: str, kind: str) -> Response:
            found = self._kept.get(name, {}).get(kind)
            if found is None:
                return Response("This report is no longer kept; scan again.", status_code=404)
            headers = {"Cache-Control": "no-store"}
            if kind != "html":
                headers["Content-Disposition"] = f'attachment; filename="scan.{kind}"'
            return Response(found, media_type=_TYPES[kind], headers=headers)
