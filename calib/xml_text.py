"""XML from a file that a user was sent: parsed without entities, with errors in one line."""

from xml.etree import ElementTree

from refit_mv.errors import InputError

# A hundred cameras have a few thousand elements; each takes fifty times the memory of its four letters in the file.
MOST_TAGS = 200_000


def parse(text: str) -> ElementTree.Element:
    """The root element.

    Raises:
        InputError: not well-formed, too much of it, or with a document type (entities can be made to grow without end;
        no calibration needs them).
    """
    if "<!DOCTYPE" in text or "<!ENTITY" in text:
        raise InputError("XML with a document type or entities is not read; remove the <!DOCTYPE …> part")
    if text.count("<") > MOST_TAGS:
        raise InputError(f"XML with more than {MOST_TAGS} elements is no calibration")
    try:
        return ElementTree.fromstring(text)
    except (ElementTree.ParseError, ValueError) as problem:
        raise InputError(f"not well-formed XML: {problem}; was the file cut short?") from None
