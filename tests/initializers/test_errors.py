"""Bad input: every message says the rule, what came and what to do, and nothing crashes."""

from typing import Any

import ml_dtypes
import numpy as np
import pytest

import fanin

NORMAL = fanin.RandomNormal(seed=1)
UNIFORM = fanin.RandomUniform(seed=1)
READ_ONLY = np.zeros((2, 3), np.float32)
READ_ONLY.flags.writeable = False
OVERLAPPING = np.lib.stride_tricks.as_strided(np.zeros(8, np.float32), (2, 3), (4, 4))

CONSTRUCTION: list[tuple[Any, dict[str, Any], type[Exception], str]] = [
    (fanin.HeNormal, {"seed": 1.5}, TypeError, r"`seed` must be an integer or None. Received: seed=1.5 (of type float)"),
    (fanin.HeNormal, {"seed": True}, TypeError, "`seed` must be an integer or None. Received: seed=True"),
    (fanin.HeNormal, {"seed": np.True_}, TypeError, "`seed` must be an integer or None. Received: seed=np.True_"),
    (fanin.HeNormal, {"seed": "a"}, TypeError, "`seed` must be an integer or None. Received: seed='a'"),
    (fanin.HeNormal, {"seed": 2**63}, ValueError, "`seed` must lie in [-2**63, 2**63 - 1]. Received: seed=9223372036854775808"),
    (fanin.HeNormal, {"seed": -(2**63) - 1}, ValueError, "`seed` must lie in"),
    (fanin.VarianceScaling, {"scale": 0}, ValueError, "`scale` must be positive float. Received: scale=0."),
    (fanin.VarianceScaling, {"scale": -1.0}, ValueError, "`scale` must be positive float. Received: scale=-1.0."),
    (fanin.VarianceScaling, {"scale": float("nan")}, ValueError, "`scale` must be finite. Received: scale=nan"),
    (fanin.VarianceScaling, {"mode": "fanin"}, ValueError, "Did you mean 'fan_in'?"),
    (fanin.VarianceScaling, {"mode": None}, ValueError, "Invalid `mode` argument: None."),
    (fanin.VarianceScaling, {"distribution": "unifrom"}, ValueError, "Invalid `distribution` argument: 'unifrom'."),
    (fanin.VarianceScaling, {"distribution": 3}, ValueError, "Invalid `distribution` argument: 3."),
    (fanin.RandomNormal, {"mean": float("inf")}, ValueError, "`mean` must be finite. Received: mean=inf"),
    (fanin.RandomNormal, {"stddev": float("nan")}, ValueError, "`stddev` must be finite. Received: stddev=nan"),
    (fanin.RandomNormal, {"stddev": 10**400}, ValueError, "`stddev` must be finite"),
    (fanin.RandomNormal, {"stddev": "1"}, TypeError, "`stddev` must be a real number or a scalar tensor. Received: stddev='1'"),
    (fanin.RandomNormal, {"mean": None}, TypeError, "`mean` must be a real number or a scalar tensor. Received: mean=None"),
    (fanin.RandomNormal, {"mean": True}, TypeError, "`mean` must be a real number or a scalar tensor. Received: mean=True"),
    (fanin.RandomNormal, {"mean": 1j}, TypeError, "`mean` must be a real number or a scalar tensor. Received: mean=1j"),
    (fanin.RandomNormal, {"mean": [1.0]}, TypeError, "`mean` must be a real number or a scalar tensor. Received: mean=[1.0]"),
    (fanin.RandomNormal, {"mean": np.zeros(2)}, TypeError, "`mean` must be a real number or a scalar tensor."),
    (fanin.TruncatedNormal, {"stddev": float("inf")}, ValueError, "`stddev` must be finite"),
    (fanin.TruncatedNormal, {"minval": float("-inf")}, ValueError, "`minval` must be finite. Received: minval=-inf."),
    (fanin.TruncatedNormal, {"maxval": "2"}, TypeError, "`maxval` must be a real number or a scalar tensor. Received: maxval='2'"),
    (fanin.TruncatedNormal, {"stddev": -1.0, "maxval": 2}, ValueError, "`stddev` must not be negative beside bounds. Received: stddev=-1.0."),
    (fanin.TruncatedNormal, {"lower": float("-inf")}, ValueError, "`lower` must be finite. Received: lower=-inf."),
    (fanin.TruncatedNormal, {"upper": True}, TypeError, "`upper` must be a real number or a scalar tensor. Received: upper=True"),
    (fanin.TruncatedNormal, {"stddev": -1.0, "lower": 2}, ValueError, "`stddev` must not be negative beside bounds. Received: stddev=-1.0."),
    (fanin.TruncatedNormal, {"lower": -2, "maxval": 3}, ValueError, "`minval` and `maxval` cannot be combined with `lower` and `upper`, which count standard deviations. Received: minval=None, maxval=3, lower=-2, upper=None."),
    (fanin.Exponential, {"rate": 0}, ValueError, "`rate` must be positive. Received: rate=0."),
    (fanin.Exponential, {"rate": None}, TypeError, "`rate` must be a real number or a scalar tensor. Received: rate=None"),
    (fanin.Bernoulli, {"p": 1.5}, ValueError, "`p` must lie in [0, 1]. Received: p=1.5."),
    (fanin.Bernoulli, {"p": -1e-300}, ValueError, "`p` must lie in [0, 1]. Received: p=-1e-300."),
    (fanin.Sparse, {"sparsity": 1.01}, ValueError, "`sparsity` must lie in [0, 1]. Received: sparsity=1.01."),
    (fanin.Table, {"values": [[1, 2], [3]]}, ValueError, "`values` must be an array of numbers, or nested lists of them with equal lengths. Received: values=[[1, 2], [3]]"),
    (fanin.Table, {"values": ["a"]}, TypeError, "`values` must be an array of numbers, or nested lists of them with equal lengths. Received: values=['a'] (they are of dtype string)."),
    (fanin.Table, {"values": None}, TypeError, "`values` must be an array of numbers"),
    (fanin.Table, {"values": [2**70]}, TypeError, "`values` must be an array of numbers"),
    (fanin.RandomUniform, {"minval": float("-inf")}, ValueError, "`minval` must be finite"),
    (fanin.RandomUniform, {"maxval": "1"}, TypeError, "`maxval` must be a real number or a scalar tensor."),
    (fanin.Orthogonal, {"gain": float("nan")}, ValueError, "`gain` must be finite"),
    (fanin.Identity, {"gain": None}, TypeError, "`gain` must be a real number or a scalar tensor."),
    (fanin.Constant, {"value": [3]}, TypeError, "`value` must be a scalar. Received: value=[3] (of type list). Only scalar values are allowed. An array is a table: fanin.Table(array)."),
    (fanin.Constant, {"value": np.zeros(1)}, TypeError, "An array is a table: fanin.Table(array)."),
    (fanin.Constant, {"value": "3"}, TypeError, "`value` must be a scalar."),
    (fanin.RandomNormal, {"mean": 10**5000}, ValueError, "`mean` must be finite. Received: mean=one of type int, too long to be shown."),
    (fanin.HeNormal, {"seed": 10**5000}, ValueError, "`seed` must lie in [-2**63, 2**63 - 1]. Received: seed=one of type int, too long to be shown."),
    (fanin.VarianceScaling, {"mode": np.array(["fan_in"])}, ValueError, "Invalid `mode` argument"),
    (fanin.Constant, {"value": None}, TypeError, "`value` must be a scalar."),
    (fanin.Dirac, {"gain": float("inf")}, ValueError, "`gain` must be finite"),
    (fanin.Dirac, {"groups": 0}, ValueError, "`groups` must lie in [1, 9223372036854775807]. Received: groups=0."),
    (fanin.Dirac, {"groups": 2.0}, TypeError, "`groups` must be an integer. Received: groups=2.0 (of type float)."),
    (fanin.Bilinear, {"groups": True}, TypeError, "`groups` must be an integer. Received: groups=True"),
    (fanin.Bilinear, {"groups": "2"}, TypeError, "`groups` must be an integer"),
    (fanin.Bilinear, {"groups": 10**5000}, ValueError, "Received: groups=one of type int, too long to be shown"),
    (fanin.STFT, {"side": "imaginary"}, ValueError, "`side` must be one of 'real', 'imag'. Received: side='imaginary'. Did you"),
    (fanin.STFT, {"side": None}, ValueError, "`side` must be one of 'real', 'imag'. Received: side=None."),
    (fanin.STFT, {"scaling": "l2"}, ValueError, "`scaling` must be one of 'density', 'spectrum', None. Received: scaling='l2'"),
    (fanin.STFT, {"periodic": 1}, TypeError, "`periodic` must be True or False. Received: periodic=1 (of type int)."),
    (fanin.STFT, {"window": "kaiser"}, ValueError, "`window` must be the name of a window, an array of its values, or None. Received: window='kaiser' ('kaiser' must have parameters"),
    (fanin.STFT, {"window": "hanning"}, ValueError, "Received: window='hanning' (Invalid window name"),
    (fanin.STFT, {"window": [[1.0]]}, TypeError, "`window` must be the name of a window, an array of its values, or None. Received: window=[[1.0]] of type list (they are of dtype float64 and rank 2)"),
    (fanin.STFT, {"window": [1j]}, TypeError, "they are of dtype complex128 and rank 1"),
    (fanin.STFT, {"window": 3.0}, TypeError, "`window` must be the name of a window"),
    (fanin.STFT, {"window": ("kaiser", 3.0)}, TypeError, "`window` must be the name of a window"),
    (fanin.STFT, {"window": [float("nan")]}, ValueError, "`window` must have finite values"),
    (fanin.Sinusoidal, {"base": 0.5}, ValueError, "`base` must be at least 1. Received: base=0.5."),
    (fanin.Sinusoidal, {"base": "1e4"}, TypeError, "`base` must be a real number"),
    (fanin.Sinusoidal, {"start": 2**31 + 1}, ValueError, "`start` must lie in [-2147483648, 2147483648]"),
    (fanin.Sinusoidal, {"start": 0.0}, TypeError, "`start` must be an integer"),
    (fanin.Sinusoidal, {"interleaved": "yes"}, TypeError, "`interleaved` must be True or False. Received: interleaved='yes'"),
    (fanin.Rotary, {"part": "cosine"}, ValueError, "`part` must be one of 'cos', 'sin', 'angles', 'frequencies'"),
    (fanin.Rotary, {"repeated": True}, ValueError, "`repeated` must be one of 'no', 'halves', 'pairs'. Received: repeated=True"),
    (fanin.Rotary, {"part": np.array(["cos"])}, ValueError, "`part` must be one of"),
    (fanin.Hippo, {"measure": "leg"}, ValueError, "`measure` must be one of 'legs', 'legt', 'lagt'. Received: measure='leg'. Did you mean"),
    (fanin.Hippo, {"part": "C"}, ValueError, "`part` must be one of 'A', 'B'. Received: part='C'."),
    (fanin.S4D, {"variant": "linear"}, ValueError, "`variant` must be one of 'lin', 'inv', 'legs', 'real'"),
    (fanin.S4D, {"part": "log"}, ValueError, "`part` must be one of 'real', 'imag', 'log_real', None"),
    (fanin.S4D, {"part": "x" * 10**6}, ValueError, "`part` must be one of"),
]  # fmt: skip

CALLS: list[tuple[Any, dict[str, Any], type[Exception], str]] = [
    (NORMAL, {"shape": 5}, TypeError, "`shape` must be a sequence of non-negative integers. Received: shape=5. Write (5,)."),
    (NORMAL, {"shape": (2, -3)}, ValueError, "non-negative integers. Received: shape=(2, -3), which contains -3"),
    (NORMAL, {"shape": (2, None)}, TypeError, "which contains None. Every dimension must be known."),
    (NORMAL, {"shape": None}, TypeError, "Received: shape=None"),
    (NORMAL, {"shape": (2.5,)}, TypeError, "which contains 2.5"),
    (NORMAL, {"shape": (True, 2)}, TypeError, "which contains True"),
    (NORMAL, {"shape": "23"}, TypeError, "Received: shape='23'"),
    (NORMAL, {"shape": np.array([2.0])}, TypeError, "non-negative integers"),
    (NORMAL, {"shape": ((2,), 3)}, TypeError, "which contains (2,)"),
    (NORMAL, {"shape": (2**62,)}, MemoryError, "Unable to allocate 16 EiB for a tensor of shape (4611686018427387904,)"),
    (NORMAL, {"shape": (2**40,)}, MemoryError, "Unable to allocate 4 TiB for a tensor of shape (1099511627776,) and dtype float32"),
    (fanin.Zeros(), {"shape": (2**62,)}, MemoryError, "Unable to allocate 16 EiB"),
    (NORMAL, {"shape": (2**63,)}, ValueError, "`shape` must have at most 2**63 - 1 elements. Received: shape=(9223372036854775808,)"),
    (NORMAL, {"shape": (2**32, 2**31)}, ValueError, "at most 2**63 - 1 elements"),
    (NORMAL, {"shape": (2**63,), "region": 0}, ValueError, "at most 2**63 - 1 elements"),
    (NORMAL, {"shape": (1,) * 65}, ValueError, "`shape` must have a rank of at most 64. Received: a shape of rank 65."),
    (NORMAL, {"dtype": "flaot32"}, TypeError, "Cannot convert value 'flaot32' to a dtype. Did you mean 'float32'?"),
    (NORMAL, {"dtype": "zzz"}, TypeError, "Cannot convert value 'zzz' to a dtype. Known names: bool,"),
    (NORMAL, {"dtype": 3.5}, TypeError, "Cannot convert value 3.5 to a dtype. It must be a name such as 'float32'"),
    (NORMAL, {"dtype": ["float32"]}, TypeError, "Cannot convert value ['float32'] to a dtype."),
    (NORMAL, {"dtype": "int32"}, ValueError, "Expected floating point type, got int32."),
    (NORMAL, {"dtype": "string"}, ValueError, "Expected floating point type, got string."),
    (NORMAL, {"dtype": "complex64"}, ValueError, "Expected floating point type, got complex64."),
    (NORMAL, {"dtype": ml_dtypes.float8_e4m3fn}, ValueError, "Expected floating point type, got float8_e4m3fn."),
    (fanin.HeNormal(1), {"dtype": "bool"}, ValueError, "Expected floating point type, got bool."),
    (fanin.Orthogonal(seed=1), {"dtype": "int8"}, ValueError, "Expected floating point type, got int8."),
    (fanin.Identity(), {"dtype": "int8"}, ValueError, "Expected floating point type, got int8."),
    (UNIFORM, {"dtype": "string"}, ValueError, "Expected float or integer dtype, got string."),
    (UNIFORM, {"dtype": "bool"}, ValueError, "Expected float or integer dtype, got bool."),
    (UNIFORM, {"dtype": "complex64"}, ValueError, "Expected float or integer dtype, got complex64."),
    (fanin.Zeros(), {"dtype": "string"}, ValueError, "Expected numeric or boolean dtype, got string."),
    (fanin.Ones(), {"dtype": object}, ValueError, "Expected numeric or boolean dtype, got object."),
    (UNIFORM, {"dtype": "int32"}, TypeError, "`minval` and `maxval` must be integers for integer dtypes. Received: minval=-0.05"),
    (UNIFORM, {"dtype": "int8"}, ValueError, "Expected float or integer dtype, got int8. Use float16, bfloat16, float32, float64, int32, int64, uint32, uint64."),
    (UNIFORM, {"dtype": "float8_e4m3fn"}, ValueError, "Expected float or integer dtype, got float8_e4m3fn."),
    (NORMAL, {"dtype": np.float64(3)}, TypeError, "to a dtype. It must be a name such as 'float32'"),
    (NORMAL, {"dtype": "(2,f4"}, TypeError, "Cannot convert value '(2,f4' to a dtype."),
    (fanin.Zeros(), {"dtype": "float8_e8m0fnu"}, ValueError, "The dtype must be able to represent the value. Received: value=0, dtype=float8_e8m0fnu."),
    (NORMAL, {"shape": (0, 2**62, 2**62)}, ValueError, "`shape` must have at most 2**63 - 1 elements."),
    (NORMAL, {"shape": (0, 2**62)}, ValueError, "`shape` is too large, even though the array is empty."),
    (fanin.HeNormal(1), {"shape": (2**62,) * 20 + (0,)}, ValueError, "`shape` must have at most 2**63 - 1 elements."),
    (NORMAL, {"shape": (10**5000,)}, ValueError, "Received: shape=(one of type int, too long to be shown,)."),
    (fanin.Orthogonal(seed=1), {"shape": (2**22, 2**22), "region": (0, 0)}, MemoryError, "Unable to allocate 64 TiB for a tensor of shape (4194304, 4194304)"),
    (fanin.RandomUniform(5, 5), {"dtype": "int32"}, ValueError, "Need `minval` < `maxval` for integer dtypes. Received: minval=5, maxval=5"),
    (fanin.RandomUniform(6, 5), {"dtype": "int64"}, ValueError, "Need `minval` < `maxval`"),
    (fanin.RandomUniform(0, 2**31), {"dtype": "int32"}, ValueError, "must lie in the dtype's range, [-2147483648, 2147483647]"),
    (fanin.RandomUniform(0, 5), {"dtype": "uint32"}, ValueError, "Unsigned dtypes are drawn from their full range"),
    (fanin.RandomUniform(None, 5), {"dtype": "int32"}, ValueError, "must both be given for integer dtypes, or neither"),
    (fanin.RandomUniform(None, 5), {"dtype": "float32"}, ValueError, "`minval` must be a number for floating dtypes"),
    (fanin.Constant(3.7), {"dtype": "int32"}, TypeError, "A value of kind float does not fit a dtype of kind integer. Received: value=3.7, dtype=int32."),
    (fanin.Constant(3.0), {"dtype": "int32"}, TypeError, "does not fit"),
    (fanin.Constant(0), {"dtype": "bool"}, TypeError, "does not fit"),
    (fanin.Constant(1j), {"dtype": "float32"}, TypeError, "does not fit"),
    (fanin.Constant(300), {"dtype": "uint8"}, ValueError, "`value` must lie in the dtype's range, [0, 255]. Received: value=300, dtype=uint8."),
    (fanin.Constant(-9), {"dtype": "int4"}, ValueError, "`value` must lie in the dtype's range, [-8, 7]."),
    (fanin.Orthogonal(seed=1), {"shape": (5,)}, ValueError, "must be at least two-dimensional. Received: shape=(5,) of rank 1."),
    (fanin.Orthogonal(seed=1), {"shape": ()}, ValueError, "must be at least two-dimensional."),
    (fanin.Identity(), {"shape": (2, 2, 2)}, ValueError, "can only be used for 2D matrices. Received: shape=(2, 2, 2) of rank 3."),
    (fanin.Orthogonal(seed=1), {"partition_shape": (2, 2)}, ValueError, "Orthogonal initializer doesn't support partition-related arguments."),
    (fanin.Orthogonal(seed=1), {"partition_offset": None}, ValueError, "Orthogonal initializer doesn't support partition-related arguments."),
    (fanin.Identity(), {"partition_offset": (0, 0)}, ValueError, "Identity initializer doesn't support partition-related arguments."),
    (NORMAL, {"partition_offset": (0.5, 0)}, TypeError, "`partition_offset` must be a sequence of integers."),
    (NORMAL, {"partition_offset": 3}, TypeError, "`partition_offset` must be a sequence of integers."),
    (NORMAL, {"partition_shape": (1, 1), "region": 0}, ValueError, "cannot be combined"),
    (NORMAL, {"layout": "mesh"}, ValueError, "`layout` must be None"),
    (NORMAL, {"sahpe": 1}, TypeError, "Unknown keyword arguments: ['sahpe']. Allowed keyword arguments: ['partition_shape', 'partition_offset', 'layout']."),
    (NORMAL, {"region": 2}, IndexError, "`region` must lie within the shape (2, 3). Received: region=2, index 2 for axis 0 of length 2."),
    (NORMAL, {"region": (0, -4)}, IndexError, "index -4 for axis 1 of length 3"),
    (NORMAL, {"region": (0, 0, 0)}, IndexError, "`region` has more entries than the shape (2, 3) has axes."),
    (NORMAL, {"region": (..., ...)}, IndexError, "`region` can have at most one Ellipsis."),
    (NORMAL, {"region": np.s_[::2]}, ValueError, "`region` must have slices of step 1."),
    (NORMAL, {"region": np.s_[::-1]}, ValueError, "`region` must have slices of step 1."),
    (NORMAL, {"region": np.s_[::0]}, ValueError, "slice step cannot be zero"),
    (NORMAL, {"region": np.s_[0.5:]}, TypeError, "`region` must have integers or None in its slices"),
    (NORMAL, {"region": (None, 0)}, TypeError, "`region` must be made of integers, slices of step 1 and Ellipsis."),
    (NORMAL, {"region": np.array([0, 1])}, TypeError, "`region` must be made of integers"),
    (NORMAL, {"region": [0, 1]}, TypeError, "`region` must be made of integers"),
    (NORMAL, {"region": True}, TypeError, "`region` must be made of integers"),
    (NORMAL, {"region": 0.0}, TypeError, "`region` must be made of integers"),
    (NORMAL, {"out": READ_ONLY}, ValueError, "`out` must be writable. Received: a read-only array."),
    (NORMAL, {"out": OVERLAPPING}, ValueError, "whose elements overlap, or might. Pass one whose strides nest."),
    (NORMAL, {"out": np.broadcast_to(np.float32(0), (2, 3))}, ValueError, "`out` must be writable."),
    (NORMAL, {"out": np.zeros((3, 2), np.float32)}, ValueError, "`out` must have the shape of the result, (2, 3). Received: out of shape (3, 2)."),
    (NORMAL, {"out": np.zeros((2, 3), np.float64)}, ValueError, "`out` must have the dtype of the result, float32. Received: out of dtype float64."),
    (NORMAL, {"out": np.zeros((2, 3), ">f4")}, ValueError, "`out` must have the dtype of the result"),
    (NORMAL, {"out": [[0.0] * 3] * 2}, TypeError, "`out` must be a writable array in CPU memory: a NumPy array, a PyTorch tensor, or anything that exports its memory (by DLPack, `__array_interface__` or the buffer protocol). Received: out of type list (memoryview: a bytes-like object is required, not 'list')."),
    (fanin.TruncatedNormal(minval=1, maxval=1), {}, ValueError, "`minval` must be less than `maxval`. Received: mean=0.0, stddev=0.05, minval=1, maxval=1."),
    (fanin.TruncatedNormal(3, 0.01, minval=-2, maxval=2), {}, ValueError, "Bounds must leave values within 36 standard deviations of the mean. Received: mean=3, stddev=0.01, minval=-2, maxval=2."),
    (fanin.TruncatedNormal(1.0, 0.0, maxval=0.9), {}, ValueError, "Bounds must leave values within 36 standard deviations of the mean."),
    (fanin.TruncatedNormal(0.1, 1.0, lower=2, upper=2.0), {}, ValueError, "`lower` must be less than `upper`. Received: mean=0.1, stddev=1.0, lower=2, upper=2.0."),
    (fanin.TruncatedNormal(0.1, 0.0, lower=3, upper=2), {}, ValueError, "`lower` must be less than `upper`."),
    (fanin.TruncatedNormal(0.1, 1e-9, lower=36.5), {}, ValueError, "Bounds must leave values within 36 standard deviations of the mean. Received: mean=0.1, stddev=1e-09, lower=36.5, upper=None."),
    (fanin.TruncatedNormal(1.0, 1e-4, lower=1, upper=2), {"dtype": "bfloat16"}, ValueError, "The dtype must have a number between the bounds. Received: mean=1.0, stddev=0.0001, lower=1, upper=2, dtype=bfloat16."),
    (fanin.TruncatedNormal(0.1, 1.0, minval=0.1, maxval=0.10001), {"dtype": "bfloat16"}, ValueError, "The dtype must have a number between the bounds."),
    (fanin.TruncatedNormal(minval=0), {"dtype": "int32"}, ValueError, "Expected floating point type, got int32."),
    (fanin.Exponential(), {"dtype": "bool"}, ValueError, "Expected floating point type, got bool."),
    (fanin.Bernoulli(), {"dtype": "complex64"}, ValueError, "Expected a boolean, integer or floating point dtype with 0 and 1, got complex64."),
    (fanin.Bernoulli(), {"dtype": "float8_e8m0fnu"}, ValueError, "Expected a boolean, integer or floating point dtype with 0 and 1, got float8_e8m0fnu."),
    (fanin.Sparse(0.5), {"shape": (2, 3, 4)}, ValueError, "Sparse initializer can only be used for 2D matrices. Received: shape=(2, 3, 4) of rank 3."),
    (fanin.Table([1, 2]), {}, ValueError, "`values` must be broadcastable to the shape. Received: values of shape (2,), shape=(2, 3)."),
    (fanin.Table([[[1]]]), {}, ValueError, "`values` must be broadcastable to the shape. Received: values of shape (1, 1, 1), shape=(2, 3)."),
    (fanin.Table([1.5]), {"dtype": "int32"}, TypeError, "A value of kind float does not fit a dtype of kind integer. Received: values of shape (1,), dtype=int32."),
    (fanin.Table([1, 300]), {"shape": (2,), "dtype": "int8"}, ValueError, "`values` must lie in the dtype's range, [-128, 127]. Received: values of shape (2,), dtype=int8."),
    (fanin.Zeros(), {"out": READ_ONLY}, ValueError, "`out` must be writable."),
    (fanin.Identity(), {"out": OVERLAPPING}, ValueError, "whose elements overlap"),
    (fanin.Dirac(), {"shape": (3,), "dtype": "float32"}, ValueError, "The tensor to initialize must be at least two-dimensional. Received: shape=(3,) of rank 1"),
    (fanin.Dirac(groups=2), {"shape": (3, 4, 5), "dtype": "float32"}, ValueError, "The last axis must be divisible by `groups`. Received: shape=(3, 4, 5), groups=2"),
    (fanin.Dirac(), {"shape": (2, 2), "dtype": "string"}, ValueError, "Expected numeric or boolean dtype, got string"),
    (fanin.Dirac(), {"shape": (2, 2), "dtype": "float8_e8m0fnu"}, ValueError, "The dtype must be able to represent the value. Received: value=0, dtype=float8_e8m0fnu"),
    (fanin.Dirac(0.5), {"shape": (2, 2), "dtype": "int32"}, ValueError, "whole numbers that the dtype has. Received: gain=0.5, dtype=int32"),
    (fanin.Dirac(300), {"shape": (2, 2), "dtype": "uint8"}, ValueError, "whole numbers that the dtype has. Received: gain=300, dtype=uint8"),
    (fanin.Dirac(-1), {"shape": (2, 2), "dtype": "uint8"}, ValueError, "whole numbers that the dtype has. Received: gain=-1, dtype=uint8"),
    (fanin.Dirac(2), {"shape": (2, 2), "dtype": "bool"}, ValueError, "whole numbers that the dtype has. Received: gain=2, dtype=bool"),
    (fanin.Dirac(2**60 + 1), {"shape": (2, 2), "dtype": "int64"}, ValueError, "whole numbers that the dtype has"),
    (fanin.STFT(), {"shape": (4, 3), "dtype": "float32"}, ValueError, "STFT initializer can only be used for kernels (frame length, channels, frequencies)"),
    (fanin.STFT(), {"shape": (4, 1, 3), "dtype": "int32"}, ValueError, "Expected floating point type, got int32"),
    (fanin.STFT(window=[1.0, 2.0]), {"shape": (4, 1, 3), "dtype": "float32"}, ValueError, "`window` must have a value for each sample of the frame. Received: 2 values, shape=(4"),
    (fanin.Sinusoidal(), {"shape": (4,), "dtype": "float32"}, ValueError, "Sinusoidal makes tables of shape (…, positions, features). Received: shape=(4,) of rank 1"),
    (fanin.Sinusoidal(start=2**31), {"shape": (2, 4), "dtype": "float32"}, ValueError, "Positions must lie in [-2**31, 2**31]"),
    (fanin.Rotary(), {"shape": (4,), "dtype": "float32"}, ValueError, "Rotary makes tables of shape"),
    (fanin.Rotary("frequencies"), {"shape": (), "dtype": "float32"}, ValueError, "Rotary makes frequencies of shape (…, features)"),
    (fanin.Rotary(repeated="halves"), {"shape": (4, 3), "dtype": "float32"}, ValueError, "must be even if they are repeated. Received: shape=(4, 3), repeated='halves'"),
    (fanin.Rotary(), {"shape": (4, 4), "dtype": "complex64"}, ValueError, "Expected floating point type, got complex64"),
    (fanin.Hippo(), {"shape": (4,), "dtype": "float32"}, ValueError, "Hippo makes A of shape (…, n, n). Received: shape=(4,) of rank 1"),
    (fanin.Hippo(), {"shape": (2, 3, 4), "dtype": "float32"}, ValueError, "Hippo makes A of shape (…, n, n). Received: shape=(2, 3, 4) with 3 rows and 4"),
    (fanin.Hippo(part="B"), {"shape": (), "dtype": "float32"}, ValueError, "Hippo makes B of shape (…, n) or (…, n, 1)"),
    (fanin.S4D(), {"shape": (4,), "dtype": "float32"}, ValueError, "Expected complex dtype, got float32. Use complex64 or complex128, or a part"),
    (fanin.S4D("lin", "imag"), {"shape": (4,), "dtype": "complex64"}, ValueError, "Expected floating point type, got complex64"),
    (fanin.S4D(), {"shape": (), "dtype": "complex64"}, ValueError, "S4D makes tensors of shape (…, n)"),
]  # fmt: skip


@pytest.mark.parametrize(("make", "arguments", "error", "message"), CONSTRUCTION)
def test_construction(make: Any, arguments: dict[str, Any], error: type[Exception], message: str) -> None:
    """Arguments are checked where they are given."""
    with pytest.raises(error) as caught:
        make(**arguments)
    assert message in str(caught.value)


@pytest.mark.parametrize(("initializer", "arguments", "error", "message"), CALLS)
def test_calls(initializer: Any, arguments: dict[str, Any], error: type[Exception], message: str) -> None:
    """A bad call raises before anything is drawn or written."""
    with pytest.raises(error) as caught:
        initializer(**{"shape": (2, 3), **arguments})
    assert message in str(caught.value)


def test_nothing_is_written_by_a_refused_call() -> None:
    """`out` stays as it was."""
    assert not READ_ONLY.any()
    assert not OVERLAPPING.any()


def test_numpy_itself_agrees_on_what_overlaps() -> None:
    """Arrays that NumPy builds by slicing and transposing never count as overlapping."""
    base = np.zeros((4, 5, 6), np.float32)
    for view in (base.T, base[::2, ::-1], base.transpose(1, 0, 2)[:, 1:3], base[:, :0], base[0, 0, 0, ...]):
        assert NORMAL(view.shape, out=view) is view


@pytest.mark.parametrize("seed", [-1, 2**32, 1.5, "a", None, True])
def test_set_random_seed(seed: Any) -> None:
    """Only integers of 32 bits."""
    with pytest.raises(ValueError, match="Expected `seed` argument to be an integer in"):
        fanin.utils.set_random_seed(seed)
