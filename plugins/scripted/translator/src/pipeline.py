"""One turn on its way through this stage: talk passes, and the finished reply is translated.

What a model fails to translate goes out as it was: a reply is never lost for the want of its translation.
"""

import json

from componentize_py_types import Err, Ok, Result
from wit_world.exports import pipeline as wit
from wit_world.imports import log, settings
from wit_world.imports.types import Fault, FaultKind, Reply

import language
import prompts

#: Between a text and its translation.
RULE = "\n\n---\n\n"
#: A longer reply is not translated: the model would not hold it.
CHARACTERS_MAX = 8_000


class Run(wit.Run):
    def __init__(self) -> None:
        self._reply: Reply | None = None
        self._translations: list[str] = []
        self._wanted: list[str] = []

    def begin(self, turn: wit.Turn) -> wit.Step:
        return wit.Step_Pass()

    def filter(self, delta: str) -> wit.Flow:
        return wit.Flow_Show(delta)

    def finish(self, reply: Reply) -> wit.Step:
        if not _is_to_translate(reply):
            return wit.Step_Pass()
        written = language.written_in(reply.text)
        self._reply = reply
        self._wanted = [name for name in _setting("languages", ["English", "中文"]) if name not in written]
        return self._next() if self._wanted else wit.Step_Pass()

    def resume(self, completion: Result[wit.Completion, Fault]) -> wit.Step:
        if self._reply is None or not self._wanted:
            raise Err(Fault(FaultKind.INTERNAL, "this stage did not ask", None))
        wanted = self._wanted.pop(0)
        match completion:
            case Ok(said):
                self._take(said)
            case Err(fault):
                log.write(log.Level.WARN, "a reply goes out untranslated", [("language", wanted), ("reason", fault.reason)])
        return self._next()

    def _take(self, said: wit.Completion) -> None:
        text = said.text.strip()
        # Half a translation is worse than none.
        if text in ("", prompts.SAME, self._reply.text.strip()) or said.finish_reason == wit.FinishReason.LENGTH:
            return
        self._translations.append(text)

    def _next(self) -> wit.Step:
        if self._wanted:
            return wit.Step_Ask(prompts.translation(self._reply.text, self._wanted[0], _setting("model", None)))
        self._reply.text = RULE.join([self._reply.text, *self._translations])
        return wit.Step_Say(self._reply)


def _is_to_translate(reply: Reply) -> bool:
    """Help, refusals and apologies are asides: they are written for those who read them."""
    is_aside = any(key == "aside" for key, _ in reply.extra)
    return not is_aside and reply.text.strip() != "" and len(reply.text) <= CHARACTERS_MAX


def _setting(name: str, otherwise):
    text = settings.get(name)
    return otherwise if text is None else json.loads(text)
