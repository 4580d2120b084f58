// Command image makes PlugFn's container image without a container engine, and
// inspects one.
//
//	image build     a program per platform in, a tar of an OCI image layout out
//	image inspect   checks a tar: digests, user, files, labels, SBOM; with -run
//	                it serves from it, in a chroot, and stops it again
//
// The image holds one static program, the roots that Mozilla trusts, and an
// account without a shell. Everything comes from the module cache: nothing is
// fetched. The Dockerfile beside the module's root makes the same for those who
// have an engine; a test compares the two.
//
// Allowed imports: the standard library and other libraries, nothing of PlugFn.
package main
