// Properties of instructions that both the translator's classification and Execute ask for.

using Iced.Intel;

namespace Lhype.Cpu.Architecture;

/// <summary>Questions about Iced's instruction codes.</summary>
internal static class InstructionForms
{
    /// <summary>True for VEX-encoded instructions on vector registers, which the kernel must have enabled;
    /// the other VEX-encoded ones (BMI) work on general registers.</summary>
    internal static bool IsVexVector(Code code)
    {
        if (code.Encoding() != EncodingKind.VEX)
        {
            return false;
        }

        foreach (CpuidFeature feature in code.CpuidFeatures())
        {
            if (feature is CpuidFeature.BMI1 or CpuidFeature.BMI2)
            {
                return false;
            }
        }

        return true;
    }

    /// <summary>VMASKMOV and VPMASKMOV: elements that are masked off are not accessed.</summary>
    internal static bool IsMaskedMove(Mnemonic mnemonic) => mnemonic
        is Mnemonic.Vmaskmovps or Mnemonic.Vmaskmovpd or Mnemonic.Vpmaskmovd or Mnemonic.Vpmaskmovq;

    /// <summary>VGATHER and VPGATHER: an address for each element.</summary>
    internal static bool IsGather(Mnemonic mnemonic) => mnemonic
        is Mnemonic.Vgatherdps or Mnemonic.Vgatherdpd or Mnemonic.Vgatherqps or Mnemonic.Vgatherqpd
        or Mnemonic.Vpgatherdd or Mnemonic.Vpgatherdq or Mnemonic.Vpgatherqd or Mnemonic.Vpgatherqq;
}
