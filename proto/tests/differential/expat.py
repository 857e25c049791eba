"""What expat reads: Python carries the library that most XMPP servers read with.

Takes cases, each behind its length in four bytes, and answers in the same way: `-` and expat's error,
or `+` and the elements in the form of `reading.rs`.
"""

import sys
from pyexpat import ExpatError, ParserCreate

# Stands between namespace and name; no case can have it in a namespace, as expat refuses that.
SEPARATOR = "\f"
XML_LANG = "http://www.w3.org/XML/1998/namespace" + SEPARATOR + "lang"
WHITE = " \t\r\n"


class NotOneElement(Exception):
    """Something else stands between the two headers' ends."""


class Reading:
    """The element that a stream has, and its content."""

    def __init__(self):
        self.open = []
        self.elements = []

    def start(self, name, attributes):
        self.open.append((name, attributes, [], []))

    def end(self, _name):
        name, attributes, text, children = self.open.pop()
        written = write(name, attributes, "".join(text), children)
        if len(self.open) > 1:
            self.open[-1][3].append(written)
        else:
            self.elements.append(written)

    def text(self, text):
        if len(self.open) > 1:
            self.open[-1][2].append(text)
        elif text.strip(WHITE):
            raise NotOneElement("text on the stream")


def write(name, attributes, text, children):
    namespace, _, local = name.rpartition(SEPARATOR)
    kept = {key: value for key, value in attributes.items() if SEPARATOR not in key}
    if XML_LANG in attributes:
        kept["xml:lang"] = attributes[XML_LANG]
    parts = [namespace, local]
    for key in sorted(kept, key=str.encode):
        parts += ["@" + key, kept[key]]
    return "<" + "".join(sized(part) for part in [*parts, text]) + "".join(children) + ">"


def sized(text):
    return f"{len(text.encode())}:{text}"


def judge(stream):
    parser = ParserCreate("utf-8", SEPARATOR)
    parser.buffer_text = True
    reading = Reading()
    parser.StartElementHandler = reading.start
    parser.EndElementHandler = reading.end
    parser.CharacterDataHandler = reading.text
    try:
        parser.Parse(stream, True)
        # The last element is the stream itself.
        if len(reading.elements) != 2:
            raise NotOneElement(f"{len(reading.elements) - 1} elements")
    except (ExpatError, NotOneElement) as refusal:
        return "-" + str(refusal)
    return "+" + reading.elements[0]


def main():
    received, sent = sys.stdin.buffer, sys.stdout.buffer
    while length := received.read(4):
        answer = judge(received.read(int.from_bytes(length))).encode()
        sent.write(len(answer).to_bytes(4) + answer)
    sent.flush()


main()
