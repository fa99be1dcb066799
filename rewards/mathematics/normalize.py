r"""Brings the many spellings of one answer together: unicode to LaTeX, LaTeX to fewer commands.

What a reader cannot see is taken away (phantoms, white text, zero-width characters); what makes a
reader see something else than the characters say (right-to-left marks, strike-through) is refused.
"""

from __future__ import annotations

import re
import unicodedata

from rewards.mathematics.limits import UnreadableError

_SUPERSCRIPTS = str.maketrans("⁰¹²³⁴⁵⁶⁷⁸⁹⁺⁻⁽⁾ⁿⁱˣ", "0123456789+-()nix")
_SUBSCRIPTS = str.maketrans("₀₁₂₃₄₅₆₇₈₉₊₋₍₎ₐₙᵢₓₖₘ", "0123456789+-()anixkm")
_RAISED = re.compile(f"[{''.join(map(chr, _SUPERSCRIPTS))}]+")
_LOWERED = re.compile(f"[{''.join(map(chr, _SUBSCRIPTS))}]+")
_REORDERING = re.compile("[\u202a-\u202e\u2066-\u2069\u200e\u200f]")

_CHARACTERS = {
    "−": "-", "–": "-", "—": "-", "‐": "-", "‑": "-", "×": r"\times ", "✕": r"\times ",
    "⋅": r"\cdot ", "·": r"\cdot ", "∙": r"\cdot ", "•": r"\cdot ", "÷": "/", "⁄": "/",
    "∕": "/", "√": r"\radical ", "∛": r"\cuberadical ", "∜": r"\fourthradical ",
    "∞": r"\infty ", "≤": r"\le ", "≥": r"\ge ", "⩽": r"\le ", "⩾": r"\ge ", "≠": r"\ne ",
    "≈": r"\approx ", "±": r"\pm ", "∓": r"\mp ", "∪": r"\cup ", "∩": r"\cap ", "∈": r"\in ",
    "∅": r"\emptyset ", "⟨": r"\langle ", "⟩": r"\rangle ", "〈": r"\langle ",
    "〉": r"\rangle ", "∖": r"\setminus ", "°": r"^{\circ}", "€": r"\text{ eur }",
    "£": r"\text{ gbp }", "¥": r"\text{ yen }", "…": r"\ldots ", "′": "'", "’": "'",
    "∨": r"\text{ or }",
    "∧": r"\text{ and }", "⌊": r"\lfloor ", "⌋": r"\rfloor ", "⌈": r"\lceil ", "⌉": r"\rceil ",
}  # fmt: skip
_GREEK = {
    chr(code): "\\" + name.rsplit(" ", 1)[1].lower() + " "
    for code in (*range(0x3B1, 0x3CA), 0x393, 0x394, 0x398, 0x39B, 0x3A3, 0x3A6, 0x3A8, 0x3A9)
    if (name := unicodedata.name(chr(code), "")) and not name.endswith("FINAL SIGMA")
}
_CAPITALS = {
    chr(code): "\\" + unicodedata.name(chr(code)).rsplit(" ", 1)[1].title() + " "
    for code in (0x393, 0x394, 0x398, 0x39B, 0x3A3, 0x3A6, 0x3A8, 0x3A9)
}
_TABLE = str.maketrans({**_CHARACTERS, **_GREEK, **_CAPITALS, "λ": r"\lambda ", "Λ": r"\Lambda "})

_SYNONYMS = {
    r"\\[dtc]frac(?![A-Za-z])": r"\\frac",
    r"\\(?:left|right|[bB]igg?[lrm]?|middle)(?![A-Za-z])(?:\s*\.)?": "",
    r"\\(?:displaystyle|textstyle|limits|nolimits|bf|rm|it|strut|large|Large)(?![A-Za-z])": " ",
    r"\\(?:leq|leqslant|leqq)(?![A-Za-z])": r"\\le ",
    r"\\(?:geq|geqslant|geqq)(?![A-Za-z])": r"\\ge ",
    r"\\lt(?![A-Za-z])": "<",
    r"\\gt(?![A-Za-z])": ">",
    r"\\(?:neq|not\s*=)(?![A-Za-z])|\\not\s*=": r"\\ne ",
    r"\\(?:approxeq|simeq|thickapprox|sim)(?![A-Za-z])": r"\\approx ",
    r"\\(?:varnothing|empty|O)(?![A-Za-z])": r"\\emptyset ",
    r"\\(?:lor|vee)(?![A-Za-z])": r"\\text{ or }",
    r"\\(?:land|wedge)(?![A-Za-z])": r"\\text{ and }",
    r"\\(?:dots|cdots|dotsc|dotso|dotsb)(?![A-Za-z])|\.\.\.": r"\\ldots ",
    r"\\lbrace(?![A-Za-z])": r"\\{",
    r"\\rbrace(?![A-Za-z])": r"\\}",
    r"\\(?:l|r)?vert(?![A-Za-z])|\\mid(?![A-Za-z])": "|",
    r"\\lbrack(?![A-Za-z])": "[",
    r"\\rbrack(?![A-Za-z])": "]",
    r"\\backslash(?![A-Za-z])": r"\\setminus ",
    r"\\(?:mathbb|Bbb|mathbf)\s*\{?\s*R\s*\}?": r"\\reals ",
    r"\\R(?![A-Za-z])": r"\\reals ",
    r"\\(?:pounds|textsterling)(?![A-Za-z])": r"\\text{ gbp }",
    r"\\euro(?![A-Za-z])": r"\\text{ eur }",
    r"\^\s*(?:\{\s*\\circ\s*\}|\\circ)|\\degree(?![A-Za-z])": r"\\degree ",
    r"\\var(epsilon|phi|theta|rho|sigma|pi|kappa)(?![A-Za-z])": r"\\\1 ",
    r"\{([^{}]*)\\choose(?![A-Za-z])([^{}]*)\}": r"\\binom{\1}{\2}",
    r"(?<=[0-9])\s*[xX]\s*(?=10\s*\^)": r"\\times ",
}
_SYNONYM_RULES = [(re.compile(pattern), new) for pattern, new in _SYNONYMS.items()]

_INVISIBLE = re.compile(
    r"\\(?:[hv]?phantom|hspace\*?|vspace\*?|label|tag\*?|kern|mspace|rule)\s*(?=\{)"
    r"|\\(?:textcolor|color)\s*\{\s*white\s*\}\s*(?=\{)"
)
_COLOR = re.compile(r"\\(?:textcolor|color|colorbox)\s*\{[^{}]*\}")
_WHITE = re.compile(r"\\color\s*\{\s*white\s*\}")
_UPRIGHT = re.compile(
    r"\\(?:text(?:bf|rm|it|normal|tt|sf|sc)?|mathrm|mathit|mathsf|mathtt|mbox|operatorname\*?|emph|hbox)\s*(?=\{)"
)
_WRAPPER = re.compile(
    r"\\(?:boxed|fbox|mathbf|boldsymbol|bm|underline|ensuremath|mathcal|pmb)\s*(?=\{)"
)
_SPACE = re.compile(r"\\(?:quad|qquad|enspace|thinspace)(?![A-Za-z])|(?<!\\)\\[,;:> ]|~|\s+")
_GROUP_SPACE = re.compile(r"(?<=[0-9])(?:\\[,;: ]|\\thinspace\s|~| )\s?(?=[0-9]{3}(?![0-9]))")
_GROUPED_ALL = re.compile(r"[+-]?[0-9]{1,3}(?:(?:\\[,;: ]|\\thinspace |~| )[0-9]{3})+(?![0-9])")


def normalize(text: str) -> str:
    r"""The one spelling of ``text`` that the tokenizer reads.

    Raises:
        UnreadableError: If characters reorder or strike out what is seen.
    """
    text = _from_unicode(text)
    text = _without_invisible(text.replace("**", "^"))
    text = _UPRIGHT.sub(r"\\text", _COLOR.sub("", text))
    while match := _WRAPPER.search(text):
        text = text[: match.start()] + text[match.end() :]
    text = re.sub(r"(?<!\\)(?:\\[()!]|\\\[|\\\]|\$)", "", text)
    for pattern, new in _SYNONYM_RULES:
        text = pattern.sub(new, text)
    text = _GROUPED_ALL.sub(lambda found: _GROUP_SPACE.sub("", found[0]), text)
    text = re.sub(r"(?<=[0-9])\{,\}(?=[0-9]{3}(?![0-9]))", "", text)
    text = re.sub(r"(?<=[0-9])\{,\}(?=[0-9])", ".", text)
    text = _SPACE.sub(" ", text).strip()
    text = re.sub(r"(?:\s*(?<!\\)[.;,])+$", "", text).strip()
    return " \\cup ".join(_outward(part.strip()) for part in text.split("\\cup "))


def _outward(text: str) -> str:
    """An interval that excludes its ends by brackets turned outward: ``]0,1[`` is ``(0,1)``."""
    match = re.fullmatch(r"([\[\]])([^\[\]]*)([\[\]])", text)
    if match is None or (match[1], match[3]) == ("[", "]"):
        return text
    return ("(" if match[1] == "]" else "[") + match[2] + (")" if match[3] == "[" else "]")


def group_end(text: str, start: int) -> int:
    """Index after the brace that closes the one at ``start``; the end of an unclosed text."""
    depth = 0
    for place in range(start, len(text)):
        escaped = place > 0 and text[place - 1] == "\\"
        depth += 0 if escaped else (text[place] == "{") - (text[place] == "}")
        if depth == 0:
            return place + 1
    return len(text)


def _from_unicode(text: str) -> str:
    if _REORDERING.search(text):
        raise UnreadableError("characters that reorder what is seen")
    text = "".join(_vulgar_fraction(character) for character in text)
    text = _RAISED.sub(lambda run: "^{" + run[0].translate(_SUPERSCRIPTS) + "}", text)
    text = _LOWERED.sub(lambda run: "_{" + run[0].translate(_SUBSCRIPTS) + "}", text)
    text = unicodedata.normalize("NFKC", text.replace("ℝ", r"\reals "))
    if any(unicodedata.category(character) in ("Mn", "Me") for character in text):
        raise UnreadableError("marks that strike out or decorate what is seen")
    text = "".join(
        str(unicodedata.decimal(character)) if character.isdecimal() else character
        for character in text
        if unicodedata.category(character) != "Cf"
    )
    return text.translate(_TABLE)


def _vulgar_fraction(character: str) -> str:
    if unicodedata.category(character) != "No":
        return character
    above, slash, below = unicodedata.normalize("NFKC", character).partition("⁄")
    return f"\\frac{{{above}}}{{{below}}}" if slash and below else character


def _without_invisible(text: str) -> str:
    while match := _INVISIBLE.search(text):
        before = text[: match.start()]
        gap = "" if before[-1:].isdigit() else " "
        text = before + gap + text[group_end(text, match.end()) :]
    if _WHITE.search(text):  # a switch: all that follows is invisible
        text = text[: _WHITE.search(text).start()]  # type: ignore[union-attr]
    return text
