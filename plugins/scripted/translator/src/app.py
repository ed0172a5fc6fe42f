"""The pipeline for a chat in which two languages are spoken: each reply comes with its translation.

`pipeline` is the way of one turn, `language` tells languages by their letters, `prompts` what the model is told.
"""

from wit_world import exports


class Pipeline(exports.Pipeline):
    """Names the interface; the turn itself is `pipeline.Run`."""
