"""Which language a text is surely in, by its letters alone; what they do not tell is the model's to say."""

import re

#: Languages that their letters tell apart, under the names that settings give them.
SCRIPTS = {
    "chinese": r"\u3400-\u4dbf\u4e00-\u9fff",
    "japanese": r"\u3040-\u30ff",
    "korean": r"\uac00-\ud7af",
    "russian": r"\u0400-\u04ff",
    "greek": r"\u0370-\u03ff",
    "hebrew": r"\u0590-\u05ff",
    "arabic": r"\u0600-\u06ff",
    "hindi": r"\u0900-\u097f",
    "thai": r"\u0e00-\u0e7f",
    "latin": r"a-zA-Z\u00c0-\u024f",
}
NAMES = {
    "chinese": ["Chinese", "中文", "汉语", "简体中文", "繁體中文"],
    "japanese": ["Japanese", "日本語"],
    "korean": ["Korean", "한국어"],
    "russian": ["Russian", "русский"],
    "greek": ["Greek", "ελληνικά"],
    "hebrew": ["Hebrew", "עברית"],
    "arabic": ["Arabic", "العربية"],
    "hindi": ["Hindi", "हिन्दी"],
    "thai": ["Thai", "ไทย"],
}
#: Letters of one script that make a text one of its language; a name or a term in it does not count.
SHARE = 0.5
#: Code is in no language.
CODE = re.compile(r"```.*?(?:```|\Z)|`[^`\n]*`", re.DOTALL)


def written_in(text: str) -> list[str]:
    """The names of the language that a text is written in; none if its letters are shared by several."""
    prose = CODE.sub(" ", text)
    counts = {script: len(re.findall(f"[{letters}]", prose)) for script, letters in SCRIPTS.items()}
    if counts["japanese"] > 0:
        # Written with Chinese characters too, which Chinese never mixes with kana.
        counts["japanese"] += counts.pop("chinese")
    letters = sum(counts.values())
    script = max(counts, key=counts.get)
    is_clear = letters > 0 and counts[script] / letters > SHARE
    return NAMES.get(script, []) if is_clear else []
