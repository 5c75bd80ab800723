"""The code that `fanin.tf_keras` and `fanin.keras` share. It imports neither tf_keras nor Keras."""
