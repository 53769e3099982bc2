"""Messages of a conversation, and the prompt they make."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from ..errors import CallError

if TYPE_CHECKING:
    from torch import Tensor

Message = Mapping[str, Any]  # role: system, user or assistant; content; what else the template knows
NAMES = {"user": "User", "assistant": "Assistant"}


def has_template(tokenizer: Any) -> bool:
    return bool(getattr(tokenizer, "chat_template", None))


def takes_tools(tokenizer: Any) -> bool:
    """Whether the chat template has a place for descriptions of tools."""
    return has_template(tokenizer) and "tools" in tokenizer.get_chat_template(tools=[])


def prompt_ids(tokenizer: Any, messages: Sequence[Message], tools: Sequence[Any] | None = None) -> Tensor:
    """[1, T] of the messages and the start of the answer, by the model's chat template; a model without one reads them
    as lines of a dialogue. tools: descriptions, as the template takes them. Raises CallError for what the template
    does not allow, and for one that does not end."""
    import torch

    from ..bridge.chat_template import render, whole

    if not has_template(tokenizer):
        if unread := {m["role"] for m in messages} - {"system", *NAMES}:
            raise CallError(f"the model has no chat template, so it reads no message of the role {unread.pop()!r}")
        ids = tokenizer(whole(as_lines(messages), "the conversation")).input_ids
    else:
        text = render(tokenizer, messages, tools=tools, answer=True)
        ids = tokenizer(text, add_special_tokens=False).input_ids
    return torch.tensor([ids], dtype=torch.long)


def as_lines(messages: Sequence[Message]) -> str:
    """'User: ...' and 'Assistant: ...', behind what the system says."""
    said = [m["content"] if m["role"] == "system" else f"{NAMES[m['role']]}: {m['content']}" for m in messages]
    return "\n".join([*said, f"{NAMES['assistant']}:"])


def stops(tokenizer: Any) -> list[str]:
    """What ends an answer beside the model's own end."""
    return [] if has_template(tokenizer) else [f"\n{name}:" for name in NAMES.values()]


@dataclass
class Conversation:
    """What was said so far. system: stands before everything, and stays when the rest is dropped."""

    tokenizer: Any
    system: str | None = None
    said: list[Message] = field(default_factory=list)

    @property
    def messages(self) -> list[Message]:
        return [*([{"role": "system", "content": self.system}] if self.system else []), *self.said]

    def asked(self, text: str) -> Tensor:
        """Prompt ids [1, T] of everything and `text`, which counts as said only with its answer."""
        return prompt_ids(self.tokenizer, [*self.messages, {"role": "user", "content": text}])

    def answered(self, text: str, answer: str) -> None:
        self.said += [{"role": "user", "content": text}, {"role": "assistant", "content": answer.strip()}]

    def reset(self) -> None:
        self.said.clear()
