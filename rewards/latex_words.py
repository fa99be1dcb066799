"""The words of LaTeX that answers are written in, by the part that they play in the grammar."""

from __future__ import annotations

import re

UNICODE = str.maketrans(
    "−×·÷≤≥≠≈∈±∪∩πθ∞°²³",  # noqa: RUF001
    "-**/<>===+++xxx%!!",
)
"""Characters that play the same part as the one below them."""


def _commands(names: str) -> frozenset[str]:
    return frozenset(f"\\{name}" for name in names.split())


SEPARATORS = frozenset({",", ";"})
JOINING_TEXT = frozenset({"and", "or"})
RELATIONS = frozenset({"=", "==", "!=", "<", ">", "<=", ">=", ":"}) | _commands(
    "le leq ge geq ne neq lt gt in notin ni subset subseteq supset supseteq approx equiv sim simeq "
    "cong propto to rightarrow leftarrow Rightarrow Leftrightarrow iff implies mapsto mid colon "
    "parallel perp leqslant geqslant"
)
SIGNS = frozenset({"+", "-"}) | _commands("pm mp")
ADDING = SIGNS | _commands("cup cap setminus oplus wedge vee land lor")
MULTIPLYING = frozenset({"*", "/"}) | _commands("cdot times div ast circ bmod otimes")
CONSTANTS = _commands(
    "alpha beta gamma delta epsilon varepsilon zeta eta theta vartheta iota kappa lambda mu nu xi "
    "pi rho sigma tau upsilon phi varphi chi psi omega Gamma Delta Theta Lambda Xi Pi Sigma "
    "Upsilon Phi Psi Omega infty emptyset varnothing ldots cdots dots ell hbar aleph angle "
    "triangle degree prime circ partial nabla Re Im top bot"
)
FUNCTIONS = _commands(
    "sin cos tan cot sec csc arcsin arccos arctan sinh cosh tanh log ln lg exp min max gcd lcm det "
    "dim ker lim sum prod int oint arg deg Pr sup inf neg lnot forall exists"
)
TWO_ARGUMENTS = _commands("frac dfrac tfrac cfrac binom dbinom tbinom")
ONE_ARGUMENT = _commands(
    "overline underline vec hat bar tilde widehat overrightarrow mathbb mathcal mathbf mathfrak "
    "boldsymbol pmod"
)
TEXT = _commands("text textbf textit textrm mathrm mathit mathsf operatorname mbox")
ENVIRONMENTS = re.compile(r"\{(?:[pbBvV]?matrix|smallmatrix|cases|array|aligned?)\*?\}")
BRACKETS = {
    "(": (")", "]"),
    "[": ("]", ")"),
    "\\{": ("\\}",),
    "\\langle": ("\\rangle",),
    "\\lfloor": ("\\rfloor",),
    "\\lceil": ("\\rceil",),
    "\\lvert": ("\\rvert",),
    "\\|": ("\\|",),
    "|": ("|",),
    "{": ("}",),
}
"""Opening bracket -> what may close it. Intervals may be half open."""
STARTS = (
    BRACKETS.keys() | CONSTANTS | FUNCTIONS | TWO_ARGUMENTS | ONE_ARGUMENT
    | _commands("sqrt begin")
)  # fmt: skip
BARS = frozenset({"|", "\\|"})
