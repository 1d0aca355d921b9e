"""Region heads with hidden layers: Feature Pyramid Networks, arXiv 1612.03144."""

from torch import Tensor, nn

from mmdetlike.errors import ConfigError
from mmdetlike.models.layers import ConvModule
from mmdetlike.registry import MODELS

from .bbox_head import BBoxHead, BoxPreds


@MODELS.register_module()
class ConvFCBBoxHead(BBoxHead):
    """Shared convolutions and linear layers, then a branch each for classes and boxes.

    Args:
        num_shared_convs: 3x3 convolutions before the branches part.
        num_shared_fcs: Linear layers before they part.
        num_cls_convs: Convolutions of the class branch.
        num_cls_fcs: Linear layers of the class branch.
        num_reg_convs: Convolutions of the box branch.
        num_reg_fcs: Linear layers of the box branch.
        conv_out_channels: Width of the convolutions.
        fc_out_channels: Width of the linear layers.
        conv_cfg: Convolution layer.
        norm_cfg: Norm layer of the convolutions.
        init_cfg: Weight initialization.
        kwargs: See ``BBoxHead``.

    Raises:
        ConfigError: A branch has convolutions after shared linear layers.
    """

    def __init__(
        self,
        num_shared_convs: int = 0,
        num_shared_fcs: int = 0,
        num_cls_convs: int = 0,
        num_cls_fcs: int = 0,
        num_reg_convs: int = 0,
        num_reg_fcs: int = 0,
        conv_out_channels: int = 256,
        fc_out_channels: int = 1024,
        conv_cfg: dict | None = None,
        norm_cfg: dict | None = None,
        init_cfg: dict | list[dict] | None = None,
        **kwargs,
    ) -> None:
        super().__init__(init_cfg=init_cfg, **kwargs)
        if num_shared_fcs and (num_cls_convs or num_reg_convs):
            raise ConfigError(
                f'no convolution can follow a linear layer: num_shared_fcs={num_shared_fcs} with '
                f'num_cls_convs={num_cls_convs}, num_reg_convs={num_reg_convs}'
            )
        self.conv_out_channels, self.fc_out_channels = conv_out_channels, fc_out_channels
        self.conv_cfg, self.norm_cfg = conv_cfg, norm_cfg
        self.relu = nn.ReLU(inplace=True)
        area = 1 if self.with_avg_pool else self.roi_feat_size[0] * self.roi_feat_size[1]
        width = self.in_channels
        self.shared_convs, width = self._convs(width, num_shared_convs)
        self.shared_fcs, width, flat = self._fcs(width, num_shared_fcs, area)
        branches = {}
        for name, convs, fcs in (('cls', num_cls_convs, num_cls_fcs), ('reg', num_reg_convs, num_reg_fcs)):
            conv_layers, branch_width = self._convs(width, convs)
            fc_layers, branch_width, branch_flat = self._fcs(branch_width, fcs, 1 if flat else area)
            self.add_module(f'{name}_convs', conv_layers)
            self.add_module(f'{name}_fcs', fc_layers)
            branches[name] = branch_width * (1 if flat or branch_flat else area)
        self.build_predictors(branches['cls'], branches['reg'])
        if init_cfg is None:
            # the shared layers count among those of both branches
            names = [dict(name=name) for name in ('shared_fcs', 'cls_fcs', 'reg_fcs')]
            self.init_cfg += [dict(type='Xavier', distribution='uniform', override=names)]

    def _convs(self, width: int, count: int) -> tuple[nn.ModuleList, int]:
        layers = nn.ModuleList()
        for _ in range(count):
            layers.append(
                ConvModule(width, self.conv_out_channels, 3, padding=1, conv_cfg=self.conv_cfg, norm_cfg=self.norm_cfg)
            )
            width = self.conv_out_channels
        return layers, width

    def _fcs(self, width: int, count: int, area: int) -> tuple[nn.ModuleList, int, bool]:
        layers = nn.ModuleList()
        for i in range(count):
            layers.append(nn.Linear(width * area if i == 0 else width, self.fc_out_channels))
            width = self.fc_out_channels
        return layers, width, count > 0

    def forward(self, x: Tensor) -> BoxPreds:
        """Region features (n, C, h, w) -> class logits (n, num_classes + 1) and deltas (n, 4 * num_classes or 4)."""
        return self.predict_from_shared(self.shared_features(x))

    def shared_features(self, x: Tensor) -> Tensor:
        """Region features (n, C, h, w) -> features of both branches, (n, c) after linear layers."""
        return self._run(x, self.shared_convs, self.shared_fcs)

    def predict_from_shared(self, x: Tensor) -> BoxPreds:
        """Features of both branches -> class logits and deltas."""
        cls_score = self.fc_cls(self._flat(self._run(x, self.cls_convs, self.cls_fcs))) if self.with_cls else None
        bbox_pred = self.fc_reg(self._flat(self._run(x, self.reg_convs, self.reg_fcs))) if self.with_reg else None
        return cls_score, bbox_pred

    def _run(self, x: Tensor, convs: nn.ModuleList, fcs: nn.ModuleList) -> Tensor:
        for conv in convs:
            x = conv(x)
        if len(fcs):
            x = self._flat(x)
        for fc in fcs:
            x = self.relu(fc(x))
        return x

    def _flat(self, x: Tensor) -> Tensor:
        if x.ndim == 4 and self.with_avg_pool:
            x = x.mean((2, 3))
        return x.flatten(1)


@MODELS.register_module()
class Shared2FCBBoxHead(ConvFCBBoxHead):
    """Two shared linear layers, the usual head of an FPN detector.

    Args:
        fc_out_channels: Width of the linear layers.
        kwargs: See ``ConvFCBBoxHead``.
    """

    def __init__(self, fc_out_channels: int = 1024, **kwargs) -> None:
        super().__init__(num_shared_fcs=2, fc_out_channels=fc_out_channels, **kwargs)


@MODELS.register_module()
class Shared4Conv1FCBBoxHead(ConvFCBBoxHead):
    """Four shared convolutions and one linear layer.

    Args:
        fc_out_channels: Width of the linear layer.
        kwargs: See ``ConvFCBBoxHead``.
    """

    def __init__(self, fc_out_channels: int = 1024, **kwargs) -> None:
        super().__init__(num_shared_convs=4, num_shared_fcs=1, fc_out_channels=fc_out_channels, **kwargs)
