"""Models in repositories of the Hugging Face hub, each with a card."""

from pathlib import Path
from tempfile import TemporaryDirectory

from stremn.errors import StremnError, one_line
from stremn.files.outputs import write_text
from stremn.models.checkpoint import HUB_PREFIX, save_pretrained
from stremn.models.predictor import Predictor
from stremn.models.segmenter import Segmenter

__all__ = ["model_card", "push_to_hub"]

_CARD = """{metadata}
# {name}

A model of the library `stremn` that {task}, after the paper
[Space Time Recurrent Memory Network](https://arxiv.org/abs/2109.06474): architecture `{architecture}`,
{parameters:.2f} million parameters.

{description}

## Use

```python
{use}
```

## Config

```json
{config}
```
"""


def model_card(
    model: Segmenter | Predictor, repository: str, *, description: str = "", license: str | None = None
) -> str:
    """The text of a model's ``README.md`` on the hub, with the metadata that the hub sorts by.

    Args:
        model: what it is of.
        repository: ``owner/name``.
        description: Markdown: data and their terms, figures, limits. Without it the card says that they are
            not stated.
        license: of the weights, by the hub's names, as ``apache-2.0``; nothing is claimed without one.

    Examples:
        >>> from stremn.models import create_model
        >>> card = model_card(create_model("stremn-lite"), "me/cats", license="mit")
        >>> 'SegmentationSession("hf:me/cats")' in card, "license: mit" in card
        (True, True)
    """
    from huggingface_hub import ModelCardData

    segments = isinstance(model, Segmenter)
    session = "SegmentationSession" if segments else "PredictionSession"
    step = "result = session.step(frame, masks=mask)" if segments else "session.observe(frame)"
    tags = ["video", "video-object-segmentation" if segments else "video-prediction"]
    metadata = ModelCardData(
        library_name="stremn",
        license=license,
        tags=tags,
        pipeline_tag="mask-generation" if segments else None,
    )
    return _CARD.format(
        metadata=f"---\n{metadata.to_yaml()}\n---",
        name=repository.split("/")[-1],
        task="follows objects through a video" if segments else "foresees the frames of a video",
        architecture=model.config.architecture,
        parameters=sum(p.numel() for p in model.parameters()) / 1e6,
        description=description or "Training data and their terms, figures and limits are not stated.",
        use=f'from stremn import {session}\n\nsession = {session}("{HUB_PREFIX}{repository}")\n{step}',
        config=model.config.to_json(),
    )


def push_to_hub(
    model: Segmenter | Predictor,
    repository: str,
    *,
    description: str = "",
    license: str | None = None,
    private: bool = False,
    token: str | None = None,
) -> str:
    """Upload a model with its card; ``from_pretrained("hf:owner/name")`` loads it.

    Args:
        model: what to upload.
        repository: ``owner/name``, made if it is not there.
        description: for the card, see :func:`model_card`.
        license: for the card.
        private: whether a new repository is only for those who may see it.
        token: of the hub; ``None`` is the one that ``hf auth login`` has left.

    Returns:
        The address of the repository.

    Raises:
        StremnError: if it cannot be uploaded.
    """
    from huggingface_hub import HfApi

    api = HfApi(token=token, library_name="stremn")
    with TemporaryDirectory() as folder:
        save_pretrained(model, folder)
        write_text(
            Path(folder) / "README.md",
            model_card(model, repository, description=description, license=license),
        )
        try:
            url = api.create_repo(repository, private=private, exist_ok=True)
            api.upload_folder(repo_id=repository, folder_path=folder, commit_message="Upload model and card")
        except Exception as error:
            raise StremnError(
                f"{HUB_PREFIX}{repository}: cannot be uploaded ({one_line(error)}); check name, token and "
                "connection"
            ) from error
    return str(url)
