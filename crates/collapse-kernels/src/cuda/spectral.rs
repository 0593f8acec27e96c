//! Spectral normalisation: the power iteration's vectors, and weights divided by their norm.

use candle_core::{CudaStorage, CustomOp1, CustomOp2, Layout, Result, Shape, Tensor};

use super::launch::{
    device_of, launch, on_cuda_alone, one_block, over_elements, over_parts, size, storage,
    uninitialised, view, with_view,
};

/// Parts of a weight whose sums are added up at the end.
const PARTS: u32 = 128;

/// x / max(‖x‖, 1e-12), of any shape. No gradient goes through it.
///
/// # Errors
/// When the tensor is not of f32 on a CUDA device, or the device fails.
pub fn unit_length(x: &Tensor) -> Result<Tensor> {
    x.detach().contiguous()?.apply_op1_no_bwd(&UnitLength)
}

/// A weight divided by max(σ / coefficient, 1) + epsilon, and σ [1] with it, where σ = ⟨u, y⟩ and y is what the weight makes
/// of v. Gradients go to the weight and, through σ, to y; u counts as fixed.
///
/// # Errors
/// When a tensor is not of f32 on a CUDA device, u and y differ in size, or the device fails.
pub fn divided_by_norm(
    weight: &Tensor,
    y: &Tensor,
    u: &Tensor,
    coefficient: f64,
    epsilon: f64,
) -> Result<(Tensor, Tensor)> {
    let u = u.detach().contiguous()?;
    let y = y.contiguous()?;
    let sigma = y.detach().apply_op2_no_bwd(&u, &InnerProduct)?;
    let op = Divided::new(&u, &sigma, coefficient, epsilon)?;
    Ok((weight.contiguous()?.apply_op2(&y, op)?, sigma))
}

/// The gradients of [`divided_by_norm`]'s weight and of its y, given `sigma` as it returned it and the divided weight's
/// gradient. No gradient goes through them.
///
/// # Errors
/// As [`divided_by_norm`].
pub fn divided_by_norm_gradients(
    weight: &Tensor,
    (u, sigma): (&Tensor, &Tensor),
    coefficient: f64,
    epsilon: f64,
    gradient: &Tensor,
) -> Result<[Tensor; 2]> {
    let op = Divided::new(u, sigma, coefficient, epsilon)?;
    op.gradients(&weight.detach().contiguous()?, gradient)
}

struct UnitLength;

impl CustomOp1 for UnitLength {
    on_cuda_alone!(CustomOp1, "unit_length");

    fn cuda_fwd(&self, x: &CudaStorage, layout: &Layout) -> Result<(CudaStorage, Shape)> {
        let device = device_of(x);
        let total = layout.shape().elem_count();
        let mut out = uninitialised(device, total)?;
        launch!(
            device,
            "unit_length",
            one_block(),
            &view(x, layout)?,
            &mut out,
            &size(total)?,
        );
        Ok((storage(out, device), layout.shape().clone()))
    }
}

struct InnerProduct;

impl CustomOp2 for InnerProduct {
    on_cuda_alone!(CustomOp2, "inner_product");

    fn cuda_fwd(
        &self,
        a: &CudaStorage,
        a_layout: &Layout,
        b: &CudaStorage,
        b_layout: &Layout,
    ) -> Result<(CudaStorage, Shape)> {
        let total = a_layout.shape().elem_count();
        if total != b_layout.shape().elem_count() {
            candle_core::bail!(
                "inner product of {:?} and {:?}",
                a_layout.shape(),
                b_layout.shape()
            );
        }
        let device = device_of(a);
        let mut out = uninitialised(device, 1)?;
        launch!(
            device,
            "inner_product",
            one_block(),
            &view(a, a_layout)?,
            &view(b, b_layout)?,
            &mut out,
            &size(total)?,
        );
        Ok((storage(out, device), Shape::from(1)))
    }
}

/// Of a weight, and of y for its gradient alone: the divided weight.
#[derive(Clone)]
struct Divided {
    sigma: Tensor,
    u: Tensor,
    coefficient: f32,
    epsilon: f32,
}

impl CustomOp2 for Divided {
    on_cuda_alone!(CustomOp2, "divided_by_norm");

    fn cuda_fwd(
        &self,
        weight: &CudaStorage,
        layout: &Layout,
        _: &CudaStorage,
        _: &Layout,
    ) -> Result<(CudaStorage, Shape)> {
        self.divide(weight, layout)
    }

    fn bwd(
        &self,
        weight: &Tensor,
        y: &Tensor,
        _: &Tensor,
        gradient: &Tensor,
    ) -> Result<(Option<Tensor>, Option<Tensor>)> {
        let [of_weight, of_y] = self.gradients(weight, gradient)?;
        Ok((Some(of_weight), Some(of_y.reshape(y.shape())?)))
    }
}

/// What a gradient of the divided weight is to the weight itself, σ left aside.
impl CustomOp1 for Divided {
    on_cuda_alone!(CustomOp1, "divided_by_norm");

    fn cuda_fwd(&self, gradient: &CudaStorage, layout: &Layout) -> Result<(CudaStorage, Shape)> {
        self.divide(gradient, layout)
    }
}

impl Divided {
    fn new(u: &Tensor, sigma: &Tensor, coefficient: f64, epsilon: f64) -> Result<Self> {
        Ok(Self {
            sigma: sigma.clone(),
            u: u.detach().contiguous()?,
            coefficient: coefficient as f32,
            epsilon: epsilon as f32,
        })
    }

    /// Of the weight and of y, the latter in one row.
    fn gradients(&self, weight: &Tensor, gradient: &Tensor) -> Result<[Tensor; 2]> {
        let gradient = gradient.detach().contiguous()?;
        let of_weight = gradient.apply_op1_no_bwd(self)?;
        let of_y = gradient.apply_op2_no_bwd(weight, &NormGradient(self.clone()))?;
        Ok([of_weight, of_y])
    }

    fn divide(&self, x: &CudaStorage, layout: &Layout) -> Result<(CudaStorage, Shape)> {
        let device = device_of(x);
        let total = layout.shape().elem_count();
        let mut out = uninitialised(device, total)?;
        with_view(&self.sigma, |sigma| {
            launch!(
                device,
                "divided_by_norm",
                over_elements(total),
                &view(x, layout)?,
                sigma,
                &mut out,
                &size(total)?,
                &self.coefficient,
                &self.epsilon,
            );
            Ok(())
        })?;
        Ok((storage(out, device), layout.shape().clone()))
    }
}

/// Of the divided weight's gradient and the weight: the gradient of y, of u's size.
struct NormGradient(Divided);

impl CustomOp2 for NormGradient {
    on_cuda_alone!(CustomOp2, "norm_gradient");

    fn cuda_fwd(
        &self,
        gradient: &CudaStorage,
        gradient_layout: &Layout,
        weight: &CudaStorage,
        weight_layout: &Layout,
    ) -> Result<(CudaStorage, Shape)> {
        let device = device_of(gradient);
        let Divided {
            sigma,
            u,
            coefficient,
            epsilon,
        } = &self.0;
        let mut sums = uninitialised(device, PARTS as usize)?;
        launch!(
            device,
            "inner_products_of_parts",
            over_parts(PARTS),
            &view(gradient, gradient_layout)?,
            &view(weight, weight_layout)?,
            &mut sums,
            &size(weight_layout.shape().elem_count())?,
        );
        let total = u.elem_count();
        let mut out = uninitialised(device, total)?;
        with_view(u, |u| {
            with_view(sigma, |sigma| {
                launch!(
                    device,
                    "norm_gradient",
                    over_elements(total),
                    u,
                    sigma,
                    &sums,
                    &mut out,
                    &size(total)?,
                    &PARTS,
                    coefficient,
                    epsilon,
                );
                Ok(())
            })
        })?;
        Ok((storage(out, device), Shape::from(total)))
    }
}
