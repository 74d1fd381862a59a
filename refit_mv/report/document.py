"""One offline HTML page: its head, which lets it ask nobody for anything, and its sections."""

import html

from refit_mv.report.charts import script_json


def document(title: str, style: str, sections: str, data: tuple[str, object], script: str) -> str:
    """The whole page. ``title`` is text; ``sections`` are markup; ``data`` is read by the ``script`` under its id."""
    name, values = data
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width,initial-scale=1"><meta name="color-scheme" '
        'content="light dark">'
        '<meta http-equiv="Content-Security-Policy" content="default-src \'none\';img-src data:;'
        "style-src 'unsafe-inline';script-src 'unsafe-inline'\">"
        f"<title>{html.escape(title)}</title><style>{style}</style></head><body><main>{sections}</main>"
        f'<script type="application/json" id="{name}">{script_json(values)}</script><script>{script}</script>'
        "</body></html>\n"
    )


def section(identifier: str, title: str, content: str) -> str:
    """A part of the page under its own heading; nothing where there is no content."""
    return f'<section id="{identifier}"><h2>{title}</h2>{content}</section>' if content else ""
