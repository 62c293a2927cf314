"""Python API: a trained model with its tokenizer, ready to use.

>>> import gpt_lightning as gl
>>> model = gl.load("logs/pretrain_books/version_0")
>>> print(model.generate("Once upon a time", max_new_tokens=50, seed=0))
"""

from gpt_lightning.api.generation import GenerationSettings as GenerationSettings
from gpt_lightning.api.load_model import load as load
from gpt_lightning.api.model import Model as Model
