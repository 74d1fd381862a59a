"""XML from a file that a user was sent: parsed without entities, with errors in one line."""

from xml.etree import ElementTree

from refit_mv.errors import InputError


def parse(text: str) -> ElementTree.Element:
    """The root element.

    Raises:
        InputError: not well-formed, or with a document type (entities can be made to grow without end; no calibration
        needs them).
    """
    if "<!DOCTYPE" in text or "<!ENTITY" in text:
        raise InputError("XML with a document type or entities is not read; remove the <!DOCTYPE …> part")
    try:
        return ElementTree.fromstring(text)
    except (ElementTree.ParseError, ValueError) as problem:
        raise InputError(f"not well-formed XML: {problem}; was the file cut short?") from None
