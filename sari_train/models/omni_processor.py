"""The ears and the tongue of an omni-modal processor: feature extractor, tokenizer and chat template, without its eyes.

transformers' own class for the Omni models insists on processors of images and videos, which need torchvision. None
of them takes part here. What is saved are the files that were loaded, byte for byte, so a saved folder opens with the
whole processor again.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

# All that a processor may consist of.
FILES = (
    "processor_config.json",
    "preprocessor_config.json",
    "video_preprocessor_config.json",
    "chat_template.json",
    "chat_template.jinja",
    "tokenizer.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "added_tokens.json",
    "vocab.json",
    "merges.txt",
)


class OmniProcessor:
    """What the adapters need of a processor.

    Args:
        tokenizer: The tokenizer.
        feature_extractor: Waveform to log-mel features.
        chat_template: Jinja text.
        files: Contents of the files that it was loaded from, by name.
    """

    def __init__(
        self, tokenizer: Any, feature_extractor: Any, chat_template: str, files: Mapping[str, bytes] | None = None
    ) -> None:
        self.tokenizer = tokenizer
        self.feature_extractor = feature_extractor
        self.chat_template = chat_template
        self._files = dict(files or {})

    @classmethod
    def load(cls, source: str) -> OmniProcessor:
        """Load the parts from a folder or hub id; whatever transformers raises is raised."""
        from transformers import AutoFeatureExtractor, AutoTokenizer
        from transformers.processing_utils import ProcessorMixin
        from transformers.utils import cached_file

        tokenizer = AutoTokenizer.from_pretrained(source)
        template = ProcessorMixin.get_processor_dict(source)[0].get("chat_template") or tokenizer.chat_template
        if isinstance(template, dict):
            template = template["default"]
        if template is None:
            raise ValueError("no chat template")
        paths = {name: cached_file(source, name, _raise_exceptions_for_missing_entries=False) for name in FILES}
        files = {name: Path(path).read_bytes() for name, path in paths.items() if path is not None}
        return cls(tokenizer, AutoFeatureExtractor.from_pretrained(source), template, files)

    def apply_chat_template(
        self, conversation: Sequence[Mapping[str, Any]], *, tokenize: bool = False, add_generation_prompt: bool = False
    ) -> Any:
        """Return the text of a conversation as the template renders it (or its token ids)."""
        return self.tokenizer.apply_chat_template(
            conversation,
            chat_template=self.chat_template,
            tokenize=tokenize,
            add_generation_prompt=add_generation_prompt,
        )

    def save_pretrained(self, folder: str) -> None:
        """Write the files that were loaded; of parts that were made in memory, theirs."""
        target = Path(folder)
        target.mkdir(parents=True, exist_ok=True)
        for name, content in self._files.items():
            (target / name).write_bytes(content)
        if not self._files:
            self.tokenizer.save_pretrained(folder)
            self.feature_extractor.save_pretrained(folder)
            (target / "chat_template.jinja").write_text(self.chat_template, encoding="utf-8")
