// A look at what the translator emits without running it. The golden tests call this to print host code.

namespace Lhype.Cpu.Translator;

/// <summary>A copy of one block's host code, taken from offset <paramref name="Start"/> of code memory; the
/// offsets in <paramref name="Map"/> and <paramref name="Thunks"/> count from the start of code memory
/// too.</summary>
internal sealed record TranslatedBlock(byte[] Code, int Start, MapEntry[] Map, Thunks Thunks);

internal sealed unsafe partial class TranslatorVcpu
{
    /// <summary>Translates the guest code at <paramref name="linear"/> for <paramref name="mode"/> (ModeKey
    /// bits) if it is not there yet. Null: the fetch faults.</summary>
    internal TranslatedBlock? TranslateOnly(ulong linear, uint mode)
    {
        byte* code = Find(linear, mode);
        if (code == null)
        {
            return null;
        }

        ref Block block = ref _cache.BlockAt(_cache.FindByHost((int)(code - _code.Executable)));
        System.ReadOnlySpan<byte> bytes = new(_code.Executable + block.Start, block.End - block.Start);
        return new TranslatedBlock(bytes.ToArray(), block.Start, _cache.MapOf(block).ToArray(), _thunks);
    }
}
