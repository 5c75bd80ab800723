"""Initializes a Keras 3 model and its PyTorch counterpart from one recipe, and gets the same outputs from both."""

import os

os.environ.setdefault("KERAS_BACKEND", "torch")
import keras
import numpy as np
import torch

import fanin
import fanin.keras
import fanin.torch

recipe = fanin.Recipe.preset("keras", seed=42)

# The model is not built yet: it gets its values when its layers create their weights.
model = keras.Sequential([keras.layers.LSTM(16, name="lstm"), keras.layers.Dense(4, name="fc")])
fanin.keras.initialize(model, recipe)
inputs = np.random.default_rng(1).standard_normal((2, 5, 8), np.float32)
outputs = keras.ops.convert_to_numpy(model(inputs))


class Twin(torch.nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.lstm, self.fc = torch.nn.LSTM(8, 16, batch_first=True), torch.nn.Linear(16, 4)


twin = Twin()
names = {"lstm.weight_ih_l0": "lstm.lstm_cell.kernel", "lstm.weight_hh_l0": "lstm.lstm_cell.recurrent_kernel"}
fanin.torch.initialize(twin, recipe, names={**names, "fc.weight": "fc.kernel"})
with torch.no_grad():
    result = twin.fc(twin.lstm(torch.from_numpy(inputs))[0][:, -1]).numpy()
print("outputs differ by less than 1e-6:", bool(np.abs(result - outputs).max() < 1e-6))
