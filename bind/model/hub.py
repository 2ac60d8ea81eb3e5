"""The hub: a folder uploaded as a model repository, and the short card of a binder that goes there without a run."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from bind.files.writing import write_text
from bind.model.description import HUB_ID
from bind.types import Modality

CARD_FILE = "README.md"
TAGS = ("bindspace", "multimodal", "contrastive")


def push_folder(
    folder: Path,
    repo: str,
    *,
    private: bool | None = None,
    message: str = "Upload",
    token: str | None = None,
    card_if_none: str | None = None,
) -> str:
    """Upload every file of a folder in one commit, into a repository that is made where there is none.

    Args:
        repo: ORG/NAME.
        private: whether a repository that is made is private; None: as the organisation has it.
        message: of the commit.
        token: of an account that may write there; None: the one that `hf auth login` or `HF_TOKEN` has set.
        card_if_none: text of a card, for a repository that has none.

    Returns:
        The repository's address.

    Raises:
        ValueError: where `repo` is no such name, or the hub refuses or can't be reached.
    """
    from huggingface_hub import HfApi, utils
    from huggingface_hub.errors import HfHubHTTPError, LocalTokenNotFoundError

    require_repository_name(repo)
    transport: Any = utils  # it names httpx, of its own version, without exporting it
    api = HfApi(token=token)
    try:
        url = api.create_repo(repo, private=private, exist_ok=True)
        if card_if_none is not None and not api.file_exists(repo, CARD_FILE):
            write_text(folder / CARD_FILE, card_if_none)
        api.upload_folder(repo_id=repo, folder_path=folder, commit_message=message)
    except LocalTokenNotFoundError as error:
        raise ValueError(f"{repo}: the hub needs a token that may write there: hf auth login, or HF_TOKEN") from error
    except (HfHubHTTPError, transport.httpx.HTTPError, OSError, RuntimeError) as error:
        reason = " ".join(f"{error} {error.__cause__ or ''}".split())
        raise ValueError(
            f"{repo}: the hub did not take it ({reason}): may the token write there (hf auth whoami)? Then push again"
        ) from error
    return str(url)


def require_repository_name(repo: str) -> None:
    """Raise ValueError where it is not ORG/NAME."""
    if not HUB_ID.fullmatch(repo):
        raise ValueError(f"repo={repo}: a repository on the hub is called ORG/NAME, of letters, digits, ., _ and -")


def describe_binder(
    name: str,
    anchor_name: str,
    modalities: Sequence[Modality],
    *,
    place: str | None = None,
    licence: str | None = None,
    about: str | None = None,
) -> str:
    """The card of a binder without its run: what it embeds and how it is loaded; no figures.

    Args:
        name: of the model, or ORG/NAME of its repository.
        place: that it is loaded from; None: `name`.
        licence: of the weights, as model cards have it; None: nobody has said which.
        about: what it is for.
    """
    tags = "\n".join(f"- {tag}" for tag in (*TAGS, *modalities))
    licence_line = f"license: {licence}\n" if licence else ""
    left_out = "Figures are" if licence else "Figures and licences are"
    return f"""---
library_name: bindspace
pipeline_tag: feature-extraction
{licence_line}tags:
{tags}
---

# {name.split("/")[-1]}

{about + chr(10) * 2 if about else ""}Encoders of {", ".join(modalities)} in the space of {anchor_name}.

```python
from bind import Binder

binder = Binder.load("{place or name}")
```

{left_out} not said here: `bindspace share` writes them from a run.
"""
