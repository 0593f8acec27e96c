"""Which inputs a torch network may be trusted on: trained on the digits 0 to 7, it then meets 8 and 9.

    pip install collapse torch scikit-learn
    python quickstart.py
"""

# %% Digits that the network learns, and those that it never sees
import collapse
import torch
from sklearn.datasets import load_digits

x, y = map(torch.tensor, load_digits(return_X_y=True))
known, labels, unknown = x[y < 8].float() / 16, y[y < 8], x[y >= 8].float() / 16

# %% A network of one hidden layer
torch.manual_seed(0)
body, head = torch.nn.Sequential(torch.nn.Linear(64, 128), torch.nn.ReLU()), torch.nn.Linear(128, 8)
optimiser = torch.optim.Adam([*body.parameters(), *head.parameters()], lr=0.01)
for step in range(100):
    optimiser.zero_grad()
    torch.nn.functional.cross_entropy(head(body(known[:600])), labels[:600]).backward()
    optimiser.step()

# %% Detectors, and what they decide of new images
network = lambda x: {"features": body(x), "weight": head.weight, "bias": head.bias}
detectors = collapse.Detectors.fit({**network(known[:600]), "labels": labels[:600]}, validation=network(known[600::2]))
print(*(detectors.decide(network(new), "energy", accept=0.95) for new in (known[601::2], unknown)), sep="\n")
