"""A Flower ClientApp with PyTorch, in the shape of Flower's quickstart."""

import torch
from flwr.app import ArrayRecord, Context, Message, MetricRecord, RecordDict
from flwr.clientapp import ClientApp
from torch.utils.data import DataLoader, TensorDataset

from digits_app.task import CLASSES, FEATURES, load_data

app = ClientApp()


class Net(torch.nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.fc1 = torch.nn.Linear(FEATURES, 32)
        self.fc2 = torch.nn.Linear(32, CLASSES)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.fc2(torch.relu(self.fc1(x)))


def first_arrays() -> dict[str, torch.Tensor]:
    """The state with which training begins."""
    torch.manual_seed(0)
    return Net().state_dict()


def _tensors(x, y) -> TensorDataset:
    return TensorDataset(torch.from_numpy(x), torch.from_numpy(y))


@app.train()
def train(msg: Message, context: Context) -> Message:
    """Train on this site's data."""
    model = Net()
    model.load_state_dict(msg.content["arrays"].to_torch_state_dict())
    node = context.node_config
    x_train, y_train, _, _ = load_data(node["partition-id"], node["num-partitions"])
    torch.manual_seed(msg.content["config"].get("seed", 0))
    loader = DataLoader(
        _tensors(x_train, y_train), batch_size=context.run_config["batch-size"], shuffle=True
    )
    optimizer = torch.optim.SGD(model.parameters(), lr=msg.content["config"]["lr"])
    criterion = torch.nn.CrossEntropyLoss()
    for _ in range(context.run_config["local-epochs"]):
        for x, y in loader:
            optimizer.zero_grad()
            criterion(model(x), y).backward()
            optimizer.step()
    content = RecordDict(
        {
            "arrays": ArrayRecord(model.state_dict()),
            "metrics": MetricRecord({"num-examples": len(x_train)}),
        }
    )
    return Message(content=content, reply_to=msg)


@app.evaluate()
def evaluate(msg: Message, context: Context) -> Message:
    """Evaluate on this site's test data."""
    model = Net()
    model.load_state_dict(msg.content["arrays"].to_torch_state_dict())
    node = context.node_config
    _, _, x_test, y_test = load_data(node["partition-id"], node["num-partitions"])
    with torch.no_grad():
        scores = model(torch.from_numpy(x_test))
    labels = torch.from_numpy(y_test)
    metrics = {
        "eval_loss": float(torch.nn.functional.cross_entropy(scores, labels)),
        "eval_acc": float((scores.argmax(1) == labels).float().mean()),
        "num-examples": len(x_test),
    }
    return Message(content=RecordDict({"metrics": MetricRecord(metrics)}), reply_to=msg)
