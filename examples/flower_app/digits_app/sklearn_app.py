"""A Flower ClientApp with scikit-learn, in the shape of Flower's quickstart."""

import numpy as np
from flwr.app import ArrayRecord, ConfigRecord, Context, Message, MetricRecord, RecordDict
from flwr.clientapp import ClientApp
from sklearn.linear_model import SGDClassifier
from sklearn.metrics import log_loss

from digits_app.task import CLASSES, FEATURES, load_data

app = ClientApp()


def create_model(learning_rate: float, seed: int) -> SGDClassifier:
    model = SGDClassifier(
        loss="log_loss", learning_rate="constant", eta0=learning_rate, random_state=seed
    )
    model.classes_ = np.arange(CLASSES)
    return model


def first_arrays() -> dict[str, np.ndarray]:
    """The arrays with which training begins."""
    return {
        "coef": np.zeros((CLASSES, FEATURES), np.float32),
        "intercept": np.zeros(CLASSES, np.float32),
    }


def set_model_params(model: SGDClassifier, params: list[np.ndarray]) -> SGDClassifier:
    model.coef_ = params[0]
    model.intercept_ = params[1]
    return model


@app.train()
def train(msg: Message, context: Context) -> Message:
    """Train on this site's data, and count the rounds in the context."""
    config = msg.content["config"]
    model = create_model(context.run_config["learning-rate"], config.get("seed", 0) % 2**32)
    set_model_params(model, msg.content["arrays"].to_numpy_ndarrays())
    node = context.node_config
    x_train, y_train, _, _ = load_data(node["partition-id"], node["num-partitions"])
    for _ in range(context.run_config["local-epochs"]):
        model.partial_fit(x_train, y_train, classes=np.arange(CLASSES))
    rounds = context.state["seen"]["rounds"] if "seen" in context.state else 0
    context.state["seen"] = ConfigRecord({"rounds": rounds + 1})
    metrics = {"num-examples": len(x_train), "rounds": rounds + 1}
    content = RecordDict(
        {
            "arrays": ArrayRecord([model.coef_, model.intercept_]),
            "metrics": MetricRecord(metrics),
        }
    )
    return Message(content=content, reply_to=msg)


@app.evaluate()
def evaluate(msg: Message, context: Context) -> Message:
    """Evaluate on this site's test data."""
    model = create_model(context.run_config["learning-rate"], 0)
    set_model_params(model, msg.content["arrays"].to_numpy_ndarrays())
    node = context.node_config
    _, _, x_test, y_test = load_data(node["partition-id"], node["num-partitions"])
    loss = log_loss(y_test, model.predict_proba(x_test), labels=np.arange(CLASSES))
    accuracy = model.score(x_test, y_test)
    metrics = {"eval_loss": loss, "eval_acc": accuracy, "num-examples": len(x_test)}
    return Message(content=RecordDict({"metrics": MetricRecord(metrics)}), reply_to=msg)
