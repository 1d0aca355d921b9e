from .balanced_samplers import CombinedSampler, InstanceBalancedPosSampler, IoUBalancedNegSampler
from .base_sampler import BaseSampler, MultiInsRandomSampler, PseudoSampler, RandomSampler, Sampler, SamplingResult
from .region_samplers import OHEMSampler, ScoreHLRSampler, weights_of_same_sum
