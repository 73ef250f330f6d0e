"""Options of `data` that have no effect on the data set of a run, with the reason."""

from dstrun.config.options import Config

WITHOUT_DOWNLOAD = {
    "digits": "the digits come with scikit-learn",
    "folder": "data=folder only reads images on the disk",
    "text": "data=text only reads files on the disk",
}
OF_IMAGES = ("stream", "workers", "size", "mean", "std", "pad", "flip")  # options of `data`
WITH_FIXED_SIZE = ("digits", "mnist", "fashion_mnist", "cifar10", "cifar100")


def reason_in_data(config: Config, key: str) -> str | None:
    """Return why an option of `data` has no effect in a run; None if there is no such reason."""
    data = config.data
    if key == "data.download" and data.download:
        return WITHOUT_DOWNLOAD.get(data.builder)
    if data.builder == "text" and key.removeprefix("data.") in OF_IMAGES:
        return f"it is for images, and {data.name} is text"
    if key == "data.root" and data.builder == "digits":
        return WITHOUT_DOWNLOAD["digits"]
    if key == "data.size" and data.builder in WITH_FIXED_SIZE:
        return f"the images of {data.name} have a fixed size"
    if data.builder in (*WITH_FIXED_SIZE, "folder"):
        reasons = {
            "data.stream": (
                data.stream and data.builder != "folder",
                "its images are always in memory",
            ),
            "data.workers": (not data.stream, "data.stream is false"),
            "data.pad": (data.stream, "the images of a stream are cropped at random anyway"),
        }
        holds, reason = reasons.get(key, (False, ""))
        return reason if holds else None
    return None
