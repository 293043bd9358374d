"""A Flower ClientApp with Keras, in the shape of Flower's quickstart."""

import keras
import numpy as np
from flwr.app import ArrayRecord, Context, Message, MetricRecord, RecordDict
from flwr.clientapp import ClientApp

from digits_app.task import CLASSES, FEATURES, load_data

app = ClientApp()


def load_model(learning_rate: float) -> keras.Model:
    keras.utils.set_random_seed(0)
    model = keras.Sequential(
        [
            keras.layers.Input((FEATURES,)),
            keras.layers.Dense(32, activation="relu"),
            keras.layers.Dense(CLASSES, activation="softmax"),
        ]
    )
    optimizer = keras.optimizers.SGD(learning_rate)
    model.compile(optimizer, "sparse_categorical_crossentropy", metrics=["accuracy"])
    return model


def first_arrays() -> list[np.ndarray]:
    """The arrays with which training begins."""
    return load_model(0.1).get_weights()


@app.train()
def train(msg: Message, context: Context) -> Message:
    """Train on this site's data."""
    model = load_model(context.run_config["learning-rate"])
    model.set_weights(msg.content["arrays"].to_numpy_ndarrays())
    node = context.node_config
    x_train, y_train, _, _ = load_data(node["partition-id"], node["num-partitions"])
    keras.utils.set_random_seed(msg.content["config"].get("seed", 0) % 2**32)
    history = model.fit(
        x_train,
        y_train,
        epochs=context.run_config["local-epochs"],
        batch_size=context.run_config["batch-size"],
        verbose=0,
    )
    metrics = {"num-examples": len(x_train), "train_loss": history.history["loss"][-1]}
    content = RecordDict(
        {"arrays": ArrayRecord(model.get_weights()), "metrics": MetricRecord(metrics)}
    )
    return Message(content=content, reply_to=msg)


@app.evaluate()
def evaluate(msg: Message, context: Context) -> Message:
    """Evaluate on this site's test data."""
    model = load_model(context.run_config["learning-rate"])
    model.set_weights(msg.content["arrays"].to_numpy_ndarrays())
    node = context.node_config
    _, _, x_test, y_test = load_data(node["partition-id"], node["num-partitions"])
    loss, accuracy = model.evaluate(x_test, y_test, verbose=0)
    metrics = {"eval_loss": loss, "eval_acc": accuracy, "num-examples": len(x_test)}
    return Message(content=RecordDict({"metrics": MetricRecord(metrics)}), reply_to=msg)
